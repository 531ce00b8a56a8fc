"""Every public header compiles alone: headers_alone.py SOURCE_FOLDER BUILD_FOLDER

A header is compiled with the flags of the room `base`, so it finds the standard library, fmt and refract, and
nothing of a vendor that is not on the compiler's own path.
"""
import concurrent.futures
import json
import os
import shlex
import subprocess
import sys


def base_command(build):
    """The compiler and its language and include options, as base/error.cpp is compiled."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    entry = next(c for c in commands if c["file"].endswith("src/base/error.cpp"))
    words = shlex.split(entry["command"])
    words = words[1:] if os.path.basename(words[0]) == "ccache" else words
    kept = [words[0]]
    following = iter(words[1:])
    for word in following:
        if word in ("-I", "-isystem"):
            kept += [word, next(following)]
        elif word.startswith(("-I", "-isystem", "-std=", "-D")):
            kept.append(word)
    return kept + ["-fsyntax-only", "-Wall", "-Wextra", "-x", "c++", "-"]


def compile_alone(command, header):
    # Twice: the second inclusion shows a missing guard.
    done = subprocess.run(command, input=f'#include "{header}"\n#include "{header}"\n', capture_output=True,
                          text=True)
    return header, done.returncode, done.stderr


def main():
    source, build = sys.argv[1:3]
    root = os.path.join(source, "include")
    headers = sorted(os.path.relpath(os.path.join(folder, name), root)
                     for folder, _, names in os.walk(root) for name in names if name.endswith(".hpp"))
    command = base_command(build)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for header, code, errors in pool.map(lambda h: compile_alone(command, h), headers):
            if code != 0:
                failed += 1
                print(f"{header} does not compile alone:\n{errors}")
    print(f"{len(headers) - failed} of {len(headers)} public headers compile alone")
    return 1 if failed or not headers else 0


if __name__ == "__main__":
    sys.exit(main())
