"""house.py must reject each of these samples, and accept the clean one."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import house  # noqa: E402

ROOMS = """set(REFRACT_FLOOR_base 0)
set(REFRACT_FLOOR_config 1)
set(REFRACT_FLOOR_comm 2)
set(REFRACT_FLOOR_store 3)
foreach(room lm sae)
  set(REFRACT_FLOOR_${room} 4)
endforeach()
"""


def breaches(path, text):
    with tempfile.TemporaryDirectory() as source:
        for name, content in {"cmake/Room.cmake": ROOMS, path: text}.items():
            os.makedirs(os.path.dirname(os.path.join(source, name)) or source, exist_ok=True)
            with open(os.path.join(source, name), "w", encoding="utf-8") as file:
                file.write(content)
        return list(house.check_files(source))


class House(unittest.TestCase):
    def accepts(self, path, text):
        self.assertEqual(breaches(path, text), [])

    def rejects(self, path, text, why):
        found = breaches(path, text)
        self.assertTrue(any(why in line for line in found), f"{why!r} is not among {found}")

    def test_accepts_what_looks_downwards(self):
        self.accepts("src/sae/a.cpp", '#include "refract/base/error.hpp"\n#include "sae/b.hpp"\n')
        self.accepts("src/comm/a.cpp", "#include <mpi.h>\n")
        self.accepts("src/ops_cuda.cu", "#include <cuda_runtime.h>\n")

    def test_rejects_an_include_upwards_or_sideways(self):
        self.rejects("src/base/a.cpp", '#include "refract/sae/state.hpp"\n', "include downwards only")
        self.rejects("src/sae/a.cpp", '#include "refract/lm/language_model.hpp"\n', "include downwards only")
        self.rejects("include/refract/lm/a.hpp", '#pragma once\n#include "refract/sae/state.hpp"\n',
                     "include downwards only")

    def test_rejects_the_private_header_of_another_room(self):
        self.rejects("src/sae/a.cpp", '#include "comm/mpi_check.hpp"\n', "is private to")

    def test_rejects_vendor_headers_outside_their_room(self):
        for header in ("mpi.h", "nccl.h", "hdf5.h", "cuda_runtime.h", "yaml-cpp/yaml.h"):
            self.rejects("src/sae/a.cpp", f"#include <{header}>\n", "belongs to")
        self.rejects("include/refract/comm/a.hpp", "#pragma once\n#include <mpi.h>\n", "belongs to")

    def test_rejects_an_unknown_room_and_a_stray_file_at_the_top(self):
        self.rejects("src/attic/a.cpp", "\n", "without a floor")
        self.rejects("scratch.txt", "a\n", "top level")

    def test_rejects_traces_of_one_machine(self):
        self.rejects("docs/a.md", "see /" + "home/me/refract\n", "a path of one machine")
        self.rejects("docs/a.md", "from pypi" + ".org\n", "package registry")

    def test_rejects_untidy_text(self):
        self.rejects("docs/a.md", "a \n", "trailing white space")
        self.rejects("docs/a.md", "a", "does not end")
        self.rejects("include/refract/base/a.hpp", "int a;\n", "#pragma once")
        self.rejects("src/base/a.cpp", "// TO" + "DO\n", "unfinished work")
        self.rejects("src/base/CMakeLists.txt", "file(GLOB a *.cpp)\n", "not globbed")


if __name__ == "__main__":
    unittest.main()
