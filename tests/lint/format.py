"""One layout for all C++ and CUDA files: format.py SOURCE_FOLDER [--fix]

Prints each file that clang-format would change and exits 1 when there is any; --fix changes them. Layouts differ
between major versions of clang-format, so another version than the pinned one is a skip (exit 77), said by name.
"""
import os
import re
import shutil
import subprocess
import sys

from house import CODE, files_of

PINNED = 14
SKIP = 77


def pinned_clang_format():
    """The path of clang-format 14, or None and why not."""
    found = "none"
    for name in ("clang-format-%d" % PINNED, "clang-format"):
        path = shutil.which(name)
        if not path:
            continue
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
        found = version.strip()
        match = re.search(r"version (\d+)\.", version)
        if match and int(match.group(1)) == PINNED:
            return path, ""
    return None, found


def main():
    source, fix = sys.argv[1], "--fix" in sys.argv[2:]
    program, found = pinned_clang_format()
    if not program:
        print("lint_format skipped: needs clang-format %d, found: %s" % (PINNED, found))
        return SKIP
    files = [path for path in files_of(source) if path.endswith(CODE)]
    changed = []
    for path in files:
        full = os.path.join(source, path)
        with open(full, encoding="utf-8") as file:
            text = file.read()
        laid_out = subprocess.run([program, "--assume-filename=" + full], input=text, capture_output=True, text=True,
                                  check=True, cwd=source).stdout
        if laid_out != text:
            changed.append(path)
            if fix:
                with open(full, "w", encoding="utf-8") as file:
                    file.write(laid_out)
    for path in changed:
        print("%s: %s" % (path, "laid out anew" if fix else "another layout than .clang-format asks for"))
    print("%d of %d files differ from .clang-format; tests/lint/format.py SOURCE --fix lays them out" %
          (len(changed), len(files)))
    return 1 if changed and not fix else 0


if __name__ == "__main__":
    sys.exit(main())
