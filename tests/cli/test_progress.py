"""Bars on long work: on a terminal, and nowhere else."""

from __future__ import annotations

import re

import pytest
from cryptography.fernet import Fernet

COUNT = 1200
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def import_(shell, tmp_path):
    """The words of a long import, and what it is to say in the end."""
    file = tmp_path / "accounts.csv"
    file.write_text("name,password\n" + "".join(f"a{number},secret-{number}\n" for number in range(COUNT)))
    return ["import", "lab", str(file)], {}, f"added {COUNT}"


def reseal(shell, tmp_path):
    """The words of a long sealing, and what it is to say in the end."""
    words, _, _ = import_(shell, tmp_path)
    shell.says(*words, REDISPOOL_KEY=OLD)
    return ["reseal", "lab"], {"REDISPOOL_KEY": f"{NEW},{OLD}"}, f"sealed {COUNT} accounts"


@pytest.mark.parametrize(("work", "verb"), [(import_, "importing"), (reseal, "sealing")])
def test_long_work_shows_a_bar_on_a_terminal_and_leaves_none_behind(shell, tmp_path, work, verb):
    words, keys, done = work(shell, tmp_path)
    output = shell.says(*words, terminal=True, **keys)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert re.search(rf"{verb} +[━╸╺]+ +\d+/{COUNT}", plain)
    assert f"{COUNT}/{COUNT}" in plain
    assert "\x1b[2K" in output[output.rindex(verb) :], "the bar is wiped away"
    assert plain.rstrip().splitlines()[-1].startswith(done)


@pytest.mark.parametrize(("work", "verb"), [(import_, "importing"), (reseal, "sealing")])
def test_in_a_pipe_there_is_no_bar(shell, tmp_path, work, verb):
    words, keys, done = work(shell, tmp_path)
    output = shell.says(*words, **keys)
    assert verb not in output
    assert "\x1b" not in output
    assert output.startswith(done)
