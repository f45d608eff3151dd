"""A real `Exscript.Queue` on the shared pools: `install(queue, manager)`."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from redispool.account import Account
from redispool.errors import ConfigError
from redispool.manager import AccountManager
from redispool.pool import AccountPool
from redispool.private_key import PrivateKey

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


def install(queue: Any, manager: AccountManager) -> None:
    """Have the jobs of an `Exscript.Queue` log in with the accounts of a manager, in threads and in processes.

    Jobs take an account when they log in, and give it back right after, as they do in Exscript; `queue.add_account`
    and `queue.add_account_pool` reach the manager, which also takes accounts of Exscript's own class. An account that
    `Host.set_account` attached is leased if a pool has one of its name, and else is locked in this process only.

    The queue does not own the manager: its `reset()` and `destroy()` leave all pools and rules as they are, and a job
    that still runs keeps its account. What a job holds goes back when it ends; if its process is killed, at once, and
    the job has failed then. If this process is killed, it comes back by the TTL. In a job's process there is no
    connection to Redis: it asks this one, over Exscript's own pipe, which pickles.

    Args:
        queue: the queue; jobs that it has started already are served as well.
        manager: chooses the accounts; one manager may serve many queues. Installing another one replaces it.

    Raises:
        ConfigError: Exscript is missing; it is no queue, or no manager; or the queue has accounts of its own already.
    """
    try:
        import redispool.integrations.exscript_handler as handling  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError("the integration with Exscript needs it: pip install 'redispool[exscript]'") from None
    if not isinstance(queue, handling.Queue):
        raise ConfigError(f"an Exscript.Queue is needed, not {type(queue).__name__}")
    if not isinstance(manager, AccountManager):
        raise ConfigError(f"an AccountManager of redispool is needed, not {type(manager).__name__}")
    present = queue.account_manager
    if isinstance(present, QueueAccounts):
        present.manager = manager
        return
    if not isinstance(present, AccountManager) and (present.pools or present.default_pool.n_accounts()):
        raise ConfigError("the queue has accounts of its own already; install the manager first, then add them")
    accounts = QueueAccounts(queue, manager, handling)
    queue.account_manager = accounts
    queue._create_pipe = accounts.create_pipe  # noqa: SLF001 - what Exscript asks for each job's pipe
    accounts.watch_processes()
    queue.workqueue.job_init_event.listen(accounts.on_job_init)
    queue.workqueue.job_started_event.listen(accounts.on_job_started)
    queue.workqueue.job_error_event.connect(accounts.on_job_error)  # before those who listen, whose error would end it
    accounts.adopt_running_jobs()
    queue.devnull = _Silence()
    queue._update_verbosity()  # noqa: SLF001 - it distributes the null device


class _Silence:
    """A null device without a lock: a job that is forked while another thread holds the file's would hang for ever."""

    def write(self, _text: str) -> None:
        pass

    def flush(self) -> None:
        pass


class QueueAccounts:
    """An account manager, as one queue sees it: with all that the manager has, but not the queue's to reset.

    Args:
        queue: the queue.
        manager: chooses the accounts.
        handling: the module of what answers the requests of one job.
    """

    def __init__(self, queue: Any, manager: AccountManager, handling: Any) -> None:
        self.manager = manager
        self._queue = weakref.ref(queue)
        self._handler_type = handling.PipeHandler
        self._process_types = {handling.Process: handling.JobProcess}
        self._new: dict[int, Any] = {}  # by the id of the pipe: the handlers whose jobs are just being made
        self._of_jobs: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # by the id of the job

    def __repr__(self) -> str:
        return f"<QueueAccounts of {self.manager!r}>"

    def __getattr__(self, name: str) -> Any:
        if name == "manager":  # not made yet
            raise AttributeError(name)
        return getattr(self.manager, name)

    # -- what the queue asks of its manager ----------------------------------------------------------------------

    def add_account(self, accounts: Any) -> int:
        """Add accounts, of redispool's or Exscript's class, to the manager's default pool; how many were new."""
        given = [accounts] if callable(getattr(accounts, "get_name", None)) else list(accounts)
        return self.manager.add_account([account_from(account) for account in given])

    def add_pool(self, pool: AccountPool | str, match: Any = None) -> None:
        """Have a pool of redispool serve the hosts that match (see `AccountManager.add_pool`)."""
        if not isinstance(pool, AccountPool | str):
            raise ConfigError(
                f"a redispool.AccountPool or the name of one is needed, not {type(pool).__module__}."
                f"{type(pool).__name__}, which other hosts cannot share"
            )
        self.manager.add_pool(pool, match)

    def release_accounts(self, owner: Any) -> int:
        """Release what an owner holds; how many accounts that was."""
        if isinstance(owner, self._handler_type):
            released: int = owner.give_back()
            return released
        return self.manager.release_accounts(owner)

    def reset(self) -> None:
        """Nothing: pools and rules are every host's, and what a job holds goes back when the job ends."""

    # -- the queue's pipes ---------------------------------------------------------------------------------------

    def create_pipe(self, job: Any = None) -> Connection:
        """A new pipe to a new handler: the child's end of it."""
        handler = self._handler_type(self)
        queue = self._queue()
        if queue is not None:
            queue.pipe_handlers[id(handler)] = handler
        if job is None:
            self._new[id(handler.to_parent)] = handler
        else:
            self._join(handler, job)
        handler.start()
        child_end: Connection = handler.to_parent
        return child_end

    def on_job_init(self, job: Any) -> None:
        """The job has its pipe now: its handler gets to know it."""
        handler = self._new.pop(id(job.data["pipe"]), None)
        if handler is not None:
            self._join(handler, job)

    def on_job_started(self, child: Any) -> None:
        """A run of a job has begun: should it be killed, its handler is to know."""
        handler = self._of_jobs.get(child.id)
        if handler is not None and child.failures == handler.job.failures:  # else that run has failed meanwhile
            handler.watch()

    def on_job_error(self, child: Any, _error: Any) -> None:
        """An attempt has failed: what it holds goes back, and the next one gets a pipe of its own."""
        handler = self._of_jobs.get(child.id)
        if handler is None:
            return
        handler.retire()
        spoilt = child.data["pipe"]
        if handler.job.failures < handler.job.times:
            child.data["pipe"] = self.create_pipe(handler.job)
        spoilt.close()

    def _join(self, handler: Any, job: Any) -> None:
        handler.job = job
        self._of_jobs[job.id] = handler

    def watch_processes(self) -> None:
        """Have the processes of jobs be of a class that can be told of their end, from now on and after a restart."""
        queue: Any = self._queue()
        for maker in filter(None, (queue.workqueue, queue.workqueue.main_loop)):  # a destroyed one has no loop
            maker.job_cls = self._process_types.get(maker.job_cls, maker.job_cls)

    def adopt_running_jobs(self) -> None:
        """Serve the jobs that began before; they hold nothing, for the queue had no accounts."""
        queue: Any = self._queue()
        jobs = {id(job.data["pipe"]): job for job in queue.workqueue.get_running_jobs() if job.data}
        for reference in queue.pipe_handlers.valuerefs():
            handler = reference()
            if handler is not None:
                job = jobs.get(id(handler.to_parent))
                adopted = self._handler_type.adopt(handler, self, job)
                if job is not None:
                    self._join(adopted, job)
                    if type(job.child) in self._process_types:
                        self._process_types[type(job.child)].adopt(job.child)
                    adopted.watch()


def account_from(account: Any) -> Account:
    """The account itself, or one of redispool with all that an account of Exscript's class has.

    Args:
        account: an account of either class.

    Raises:
        ConfigError: it is neither, or its key is not in one file that can be read.
    """
    if isinstance(account, Account):
        return account
    if not all(callable(getattr(account, name, None)) for name in ("get_name", "get_password", "get_key")):
        raise ConfigError(f"an Account is needed, not {type(account).__name__}")
    return Account(
        account.get_name(),
        account.get_password() or "",
        account.authorization_password,
        None if account.get_key() is None else PrivateKey.of(account.get_key()),
        account.needs_lock,
    )
