"""What pyproject.toml asks for, one requirement a line: the base, or with a word that extra. Needs no package."""

import sys
import tomllib

with open("pyproject.toml", "rb") as file:  # noqa: PTH123
    project = tomllib.load(file)["project"]
wanted = project["optional-dependencies"][sys.argv[1]] if len(sys.argv) > 1 else project["dependencies"]
sys.stdout.write("".join(f"{line}\n" for line in wanted))
