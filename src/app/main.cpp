// refract: one binary, one word per stage. Only here are exceptions turned into one line and an exit code.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>

#include "refract/app/command_table.hpp"
#include "refract/base/parallel.hpp"
#include "refract/base/progress.hpp"
#include "refract/comm/environment.hpp"

namespace {

int fail(const refract::Environment* environment, int code, const char* text) {
  fmt::print(stderr, "refract[{}] {}: {}\n", refract::Environment::known_rank(), refract::host_name(), text);
  std::fflush(stderr);
  std::fflush(stdout);
  if (environment && environment->world_size() > 1) refract::Environment::abort(code);
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  std::unique_ptr<refract::Environment> environment;
  try {
    const refract::CommandLine line = refract::parse_command_line(argc, argv);                  // 1. arguments
    const refract::Command* command = refract::find_command(line.command);
    if (line.help || line.command.empty()) {
      fmt::print("{}", refract::usage());
      return line.help ? 0 : 2;
    }
    if (!command) throw refract::ConfigError("no command '{}'. `refract --help` lists them.", line.command);
    refract::set_quiet(line.quiet);
    if (line.threads > 0) refract::set_thread_count(line.threads);                              // 2. threads
    if (command->needs_mpi && !line.print_config && !line.dry_run)
      environment = std::make_unique<refract::Environment>(argc, argv);                         // 3. MPI
    return static_cast<int>(command->run(line));                                                // 4. the command
  } catch (const refract::Error& error) {                                                       // 5. one line
    return fail(environment.get(), static_cast<int>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    return fail(environment.get(), 4, "not enough memory: see `refract run --dry-run`, lower train.cache_bytes or "
                                      "store.chunk_rows");
  } catch (const std::exception& error) {
    return fail(environment.get(), 4, error.what());
  }
}
