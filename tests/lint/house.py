"""The house rules that a program can check: house.py SOURCE_FOLDER

Prints one line for each breach (file:line: rule) and exits 1 when there is any.
"""
import os
import re
import subprocess
import sys

TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md",
    "src", "include", "jobs", "configs", "cmake", "tests", "docs",
}
CODE = (".hpp", ".cpp", ".cu", ".cuh")
TEXT = CODE + (".py", ".sh", ".md", ".txt", ".cmake", ".yaml", ".json", ".in", ".env", ".sbatch")
# A test's data may be any bytes; the licence is quoted as it is.
QUOTED = ("configs/demo/model/", "tests/data/")

# Vendor header -> the places that may include it. hdf5.h brings mpi.h into the store; nccl.h brings
# cuda_runtime.h into one file of comm.
WALLS = [
    (re.compile(r"(mpi|nccl)\.h"), ("src/comm/",)),
    (re.compile(r"hdf5(_hl)?\.h|H5\w+\.h"), ("src/store/",)),
    (re.compile(r"cuda\w*\.h|cublas\w*\.h"), ("src/device/", "_cuda.cu", "_cuda.cuh")),
    (re.compile(r"yaml-cpp/.*"), ("src/config/",)),
]

# Written in pieces, so that this file does not hold what it forbids.
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:%s)/[\w.-]+" % "|".join(["work", "home", "root", "opt/wheels"]))
REGISTRY_HOST = re.compile("|".join(re.escape(a + b) for a, b in [
    ("pypi", ".org"), ("files.python", "hosted"), ("deb.", "debian.org"), ("snapshot.", "debian.org"),
    ("registry.", "npmjs"), ("crates", ".io"), ("proxy.", "golang.org")]))
UNFINISHED = re.compile(r"\b(?:%s)\b" % "|".join(a + b for a, b in [("TO", "DO"), ("FIX", "ME"), ("XX", "X")]))


def files_of(source):
    """Paths under source/, as git would add them; without git, everything but build and run folders."""
    try:
        listed = subprocess.run(
            ["git", "-C", source, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True, check=True).stdout.decode()
        paths = [path for path in listed.split("\0") if path]
    except (OSError, subprocess.CalledProcessError):
        paths = []
    if not paths:
        skipped = re.compile(r"^(\.git|build.*|runs|data)$")
        for folder, names, leaves in os.walk(source):
            if folder == source:
                names[:] = [name for name in names if not skipped.match(name)]
            names[:] = [name for name in names if name != "__pycache__"]
            paths += [os.path.relpath(os.path.join(folder, leaf), source) for leaf in leaves]
    return sorted(path for path in paths if os.path.isfile(os.path.join(source, path)))


def floors_of(source):
    """room -> floor, from cmake/Room.cmake: the table that the build obeys."""
    floors = {}
    with open(os.path.join(source, "cmake/Room.cmake"), encoding="utf-8") as file:
        text = file.read()
    for room, floor in re.findall(r"set\(REFRACT_FLOOR_(\w+) (\d+)\)", text):
        floors[room] = int(floor)
    for rooms, floor in re.findall(r"foreach\(room ([\w ]+)\)\s*set\(REFRACT_FLOOR_\$\{room\} (\d+)\)", text):
        floors.update({room: int(floor) for room in rooms.split()})
    return floors


def room_of(path):
    match = re.match(r"(?:include/refract|src)/(\w+)/", path)
    return match.group(1) if match else None


def check_includes(path, number, line, floors):
    """Walls and floors."""
    match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
    room = room_of(path)
    if not match or room is None:
        return
    included = match.group(1)
    for vendor, places in WALLS:
        if vendor.fullmatch(included) and not any(place in path for place in places):
            yield f"{path}:{number}: {included} belongs to {' or '.join(places)}"
    other = re.match(r"(?:refract/)?(\w+)/", included)
    if other and other.group(1) in floors and other.group(1) != room:
        theirs, mine = floors[other.group(1)], floors.get(room)
        if mine is None:
            yield f"{path}:{number}: room '{room}' has no floor in cmake/Room.cmake"
        elif theirs >= mine:
            yield (f"{path}:{number}: '{room}' (floor {mine}) includes '{other.group(1)}' (floor {theirs}): "
                   "include downwards only")
        elif not included.startswith("refract/"):
            yield f"{path}:{number}: {included} is private to the room '{other.group(1)}'"


def check_line(path, number, line):
    if line != line.rstrip() and not path.startswith(QUOTED):
        yield f"{path}:{number}: trailing white space"
    found = MACHINE_PATH.search(line)
    if found:
        yield f"{path}:{number}: a path of one machine: {found.group(0)}"
    if REGISTRY_HOST.search(line):
        yield f"{path}:{number}: the host of a package registry"
    if path.endswith(CODE + (".py", ".sh", ".cmake")) and UNFINISHED.search(line):
        yield f"{path}:{number}: unfinished work left behind"
    if path.endswith(("CMakeLists.txt", ".cmake")) and re.search(r"file\s*\(\s*GLOB", line, re.IGNORECASE):
        yield f"{path}:{number}: sources are listed, not globbed"


def text_of(source, path):
    try:
        with open(os.path.join(source, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


class Vocabulary:
    """What a message may name: settings, commands, options and documents that exist."""

    def __init__(self, source):
        self.source = source
        config = text_of(source, "src/pipeline/run_config.cpp")
        self.fields = {}  # section -> its settings; "" for the top level
        for struct, body in re.findall(r"^void describe\(Fields& \w+, (\w+)Config& \w+\) \{\n(.*?)^\}", config,
                                       re.MULTILINE | re.DOTALL):
            section = {"Run": "", "Sae": "saes"}.get(struct, struct.lower())
            self.fields[section] = set(re.findall(r'\bf\.(?:field|nested|list|not_built)\(\s*"(\w+)"', body))
        self.commands = set(re.findall(r'^    \{"(\w+)", "', text_of(source, "src/app/command_table.cpp"),
                                       re.MULTILINE))
        self.options = set(re.findall(r'"([a-z-]+)",\s*(?:po::|count\(|duration\()', text_of(source, "src/app/command_line.cpp")))

    def is_setting(self, key):
        parts = key.split(".")
        while len(parts) > 1:
            section = parts.pop(0)
            if section == "saes" and (parts[0].isdigit() or parts[0] in ("*", "{}")):
                parts.pop(0)
                if not parts:
                    return True
            if parts[0] not in self.fields.get(section, ()):
                return False
        return True

    def settings_missing(self, text):
        for key in re.findall(r"(?<![\w./<*-])([a-z_]\w*(?:\.(?:\w+|\*|\{\}))+)(?![\w/])", text):
            if key.split(".")[0] in self.fields and not key.endswith(FILE_ENDINGS) and not self.is_setting(key):
                yield f"the setting {key}"

    def commands_missing(self, text):
        for command in re.findall(r"`refract ([a-z]+)", text):
            if command not in self.commands:
                yield f"the command refract {command}"

    def missing(self, text):
        """What the text names and does not exist, in words."""
        yield from self.settings_missing(text)
        yield from self.commands_missing(text)
        for option in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text):
            if option not in self.options and option not in FOREIGN_OPTIONS:
                yield f"the option --{option}"
        for document in re.findall(r"(?<![\w/.{-])([\w/-]+\.md)\b", text):
            if not os.path.isfile(os.path.join(self.source, document)):
                yield f"the document {document}"


FILE_ENDINGS = (".h5", ".html", ".json", ".jsonl", ".yaml", ".txt", ".md", ".sbatch")
FOREIGN_OPTIONS = {
    "revision",  # huggingface-cli download
    # Slurm's
    "account", "batch", "constraint", "cpus-per-task", "gpus-per-node", "gres", "job-name", "me", "mem", "mpi",
    "no-requeue", "nodes", "ntasks-per-node", "output", "parsable", "partition", "qos", "requeue", "signal", "time"}
LAUNCHERS = "src/app/launch"    # speaks the options of mpirun and srun
TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|R"(?P<mark>[^()\s"]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|"""
                   r"""(?<![0-9])'(?:\\.|[^'\\\n])+'""", re.DOTALL)


def literals(text):
    """(line, text) of each string literal of C++; neighbours are one. Raw ones are pages, not messages."""
    number, joined, end = 0, None, 0
    for token in TOKEN.finditer(text):
        if not token.group().startswith('"'):
            continue
        if joined is not None and not text[end:token.start()].strip():
            joined += token.group()[1:-1]
        else:
            if joined is not None:
                yield number, joined
            number, joined = text.count("\n", 0, token.start()) + 1, token.group()[1:-1]
        end = token.end()
    if joined is not None:
        yield number, joined


def check_messages(path, text, vocabulary):
    if path.startswith(("docs/", "configs/")) or path == "README.md":
        for number, line in enumerate(text.split("\n"), 1):
            for name in [*vocabulary.settings_missing(line), *vocabulary.commands_missing(line)]:
                yield f"{path}:{number}: names {name}, which does not exist"
    if not path.startswith(("src/", "include/")) or path.startswith(LAUNCHERS) or not path.endswith(CODE):
        return
    for number, literal in literals(text):
        for name in vocabulary.missing(literal):
            yield f"{path}:{number}: a message names {name}, which does not exist"


# A type of the namespace refract itself, not one within another type.
TYPE = re.compile(r"^(?:struct|class|enum class) (\w+)[^;]*\{")


def check_types(path, lines, types):
    """Two headers that define one name make two types of which the linker keeps some functions of either."""
    for number, line in enumerate(lines, 1):
        found = TYPE.match(line)
        if found and types.setdefault(found.group(1), path) != path:
            yield f"{path}:{number}: the type {found.group(1)} is {types[found.group(1)]}'s: give it a name of its own"


def check_files(source):
    types = {}
    vocabulary = Vocabulary(source)
    floors = floors_of(source)
    rooms = {room_of(path) for path in files_of(source)} - {None}
    for room in sorted(rooms - set(floors)):
        yield f"src/{room}: a room without a floor in cmake/Room.cmake"
    for path in files_of(source):
        top = path.split("/")[0]
        if top not in TOP_LEVEL and not top.startswith("."):
            yield f"{path}: '{top}' does not belong at the top level"
        if not path.endswith(TEXT):
            continue
        with open(os.path.join(source, path), encoding="utf-8") as file:
            lines = file.read().split("\n")
        yield from check_messages(path, "\n".join(lines), vocabulary)
        if path.endswith(".hpp") and top in ("src", "include"):
            yield from check_types(path, lines, types)
        if path.endswith(".hpp") and "#pragma once" not in lines:
            yield f"{path}:1: a header without #pragma once"
        if lines[-1] and not path.startswith(QUOTED):
            yield f"{path}:{len(lines)}: the last line does not end"
        for number, line in enumerate(lines, 1):
            yield from check_line(path, number, line)
            if path.endswith(CODE):
                yield from check_includes(path, number, line, floors)


def main():
    breaches = list(check_files(sys.argv[1]))
    print("\n".join(breaches))
    print(f"{len(breaches)} breaches of the house rules in {len(files_of(sys.argv[1]))} files")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
