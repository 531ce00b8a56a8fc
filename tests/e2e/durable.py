"""Whether a machine that loses its power loses what has a final name: durable.py TRACE (faults.cpp, FAULTS_TRACE).

What is renamed must be synced before, a folder with all that is in it; and at the end of a run everything that stays,
each name in its folder too, must be synced. Prints what is not and exits 1 when there is any.
"""
import os
import re
import sys

# What may be lost: heartbeats, claims, what people are told meanwhile, the list of what was seen whole.
LOSABLE = re.compile(r"^run/alive|^run/progress[.]json|[.]claim|^run/run[.]lock|^data/digests[.]jsonl$")


def below(folder, paths):
    return sorted(path for path in paths if path == folder or path.startswith(folder + "/"))


def unsynced(lines):
    data, names, faults = set(), set(), []  # files with unsynced bytes, names that their folder was not synced with
    for line in lines:
        operation, path, before = line.rstrip("\n").split("\t")
        if operation == "sync":
            data.discard(path)
            names -= {name for name in names if os.path.dirname(name) == path}
        elif operation == "remove":
            data.discard(path)
            names.discard(path)
        elif operation in ("rename", "exchange"):
            within = below(before, data) + [name for name in below(before, names) if name != before]
            if within and not LOSABLE.search(path):
                faults.append(f"renamed to {path} before it was synced: {', '.join(within)}")
            data -= set(within)
            names -= set(below(before, names))
            names.add(path)
        elif operation in ("create", "mkdir", "link"):
            names.add(path)
        else:  # written, emptied, made longer or shorter
            data.add(path)
    # The folder that the trace is of is another's to sync.
    stays = {path for path in data | names if not LOSABLE.search(path) and (path in data or "/" in path)}
    return faults + [f"not synced at the end: {path}" for path in sorted(stays)]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        lines = file.readlines()
    faults = unsynced(lines)
    for fault in faults:
        print(fault)
    print(f"{len(lines)} calls, {len(faults)} of them not durable")
    return 1 if faults or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
