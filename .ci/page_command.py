"""Prints the command of a page whose fenced block is marked `sh NAME`: python .ci/page_command.py PAGE NAME."""

import re
import sys
from pathlib import Path


def command(page: str, name: str) -> str:
    """The text between ```sh NAME and the next ```; exits with a message if there is not exactly one."""
    text = Path(__file__).parents[1].joinpath(page).read_text()
    blocks = re.findall(rf"^```sh {re.escape(name)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        sys.exit(f"{page} has {len(blocks)} blocks marked `sh {name}`, not one")
    return str(blocks[0])


if __name__ == "__main__":
    print(command(*sys.argv[1:]), end="")
