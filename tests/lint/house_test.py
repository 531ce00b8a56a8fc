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


SETTINGS = """void describe(Fields& f, StoreConfig& c) {
  f.field("mode", c.mode, {.help = "ring"});
  f.field(
      "seed", c.seed, {});
}
void describe(Fields& f, SaeConfig& c) {
  f.field("k", c.k, {});
  f.nested("optimizer", "x", c.optimizer);
}
void describe(Fields& f, OptimizerConfig& c) {
  f.field("lr", c.lr, {});
}
void describe(Fields& f, RunConfig& c) {
  f.nested("store", "the store", c.store);
  f.list(
      "saes", "the SAEs", c.saes.size(),
}
"""
HEADER = """#pragma once
struct Whitening {
};
"""
COMMANDS = """constexpr std::array<Command, 1> kCommands{{
    {"run", "config.yaml", "all", kConfigured, "configs/demo.yaml", true, run_command},
}};
"""
OPTIONS = """  all.add_options()("set", po::value(&line.overrides), "")(
      "ranks", count("ranks", line.ranks, 1, kMostRanks, "n"), "");
"""


def breaches(path, text):
    with tempfile.TemporaryDirectory() as source:
        tree = {"cmake/Room.cmake": ROOMS + "set(REFRACT_FLOOR_pipeline 6)\nset(REFRACT_FLOOR_app 7)\n",
                "src/pipeline/run_config.cpp": SETTINGS, "src/app/command_table.cpp": COMMANDS,
                "src/app/command_line.cpp": OPTIONS, "docs/there.md": "a\n",
                "include/refract/base/one.hpp": HEADER, path: text}
        for name, content in tree.items():
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

    def test_rejects_a_type_that_two_headers_define(self):
        self.rejects("include/refract/sae/a.hpp", HEADER, "the type Whitening is include/refract/base/one.hpp's")
        self.accepts("include/refract/sae/a.hpp", "#pragma once\nstruct Whitening;\nstruct Other : Whitening {\n};\n")

    def test_rejects_traces_of_one_machine(self):
        self.rejects("docs/a.md", "see /" + "home/me/refract\n", "a path of one machine")
        self.rejects("docs/a.md", "from pypi" + ".org\n", "package registry")

    def test_rejects_a_message_that_names_what_does_not_exist(self):
        for text, what in [('"set store.mood to keep"', "the setting store.mood"),
                           ('"set store."\n    "mood to keep"', "the setting store.mood"),
                           ('"saes.{}.optimizer.rate"', "the setting saes.{}.optimizer.rate"),
                           ('"saes.optimizer"', None), ('"saes.k.lr"', "the setting saes.k.lr"),
                           ('"ask `refract oracle`"', "the command refract oracle"),
                           ('"start it with --rank 2"', "the option --rank"),
                           ('"read docs/nowhere.md"', "the document docs/nowhere.md")]:
            source = f"throw ConfigError({text});\n"
            if what:
                self.rejects("src/sae/a.cpp", source, f"names {what}, which does not exist")
            else:
                self.accepts("src/sae/a.cpp", source)
        self.rejects("docs/a.md", "`store.mood`\n", "names the setting store.mood")
        self.rejects("docs/a.md", "`refract oracle`\n", "names the command refract oracle")

    def test_accepts_a_message_that_names_what_exists(self):
        self.accepts("src/sae/a.cpp", 'throw ConfigError("{}: store.mode is not {}; `refract run` it with --ranks 2 or "\n'
                     '  "--set saes.*.optimizer.lr=1, or saes.{}.k, store.seed: docs/there.md", store.mood);\n')
        self.accepts("src/sae/a.cpp", '// store.mood\nauto page = R"(store.mood --and)";  // "store.mood"\n')
        self.accepts("src/sae/a.cpp", 'auto file = "store.h5";\n')

    def test_rejects_untidy_text(self):
        self.rejects("docs/a.md", "a \n", "trailing white space")
        self.rejects("docs/a.md", "a", "does not end")
        self.rejects("include/refract/base/a.hpp", "int a;\n", "#pragma once")
        self.rejects("src/base/a.cpp", "// TO" + "DO\n", "unfinished work")
        self.rejects("src/base/CMakeLists.txt", "file(GLOB a *.cpp)\n", "not globbed")


if __name__ == "__main__":
    unittest.main()
