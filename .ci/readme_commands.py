"""Prints the command of README.md whose fenced block is marked `sh NAME`: python .ci/readme_commands.py NAME."""

import re
import sys
from pathlib import Path


def command(readme: str, name: str) -> str:
    """The text between ```sh NAME and the next ```; exits with a message if there is not exactly one."""
    blocks = re.findall(rf"^```sh {re.escape(name)}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    if len(blocks) != 1:
        sys.exit(f"README.md has {len(blocks)} blocks marked `sh {name}`, not one")
    return str(blocks[0])


if __name__ == "__main__":
    print(command(Path(__file__).parents[1].joinpath("README.md").read_text(), sys.argv[1]), end="")
