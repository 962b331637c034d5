"""Print the requirements of pyproject.toml, one a line: the base, and of each extra named. Needs no package.

An extra that names another one of this project (`allinone-face[server]`) brings its requirements.
"""

import sys
import tomllib

with open("pyproject.toml", "rb") as file:  # noqa: PTH123
    project = tomllib.load(file)["project"]


def requirements(extra: str) -> list[str]:
    """Return what an extra asks for, with what the extras it names ask for."""
    found = []
    for line in project["optional-dependencies"][extra]:
        if line.startswith(f"{project['name']}["):
            for name in line.partition("[")[2].rstrip("]").split(","):
                found += requirements(name)
        else:
            found.append(line)
    return found


lines = [*project["dependencies"], *(line for extra in sys.argv[1:] for line in requirements(extra))]
sys.stdout.write("".join(f"{line}\n" for line in lines))
