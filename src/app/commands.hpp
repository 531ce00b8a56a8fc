#pragma once
// One function per command word.
#include "refract/app/command_table.hpp"

#include "refract/pipeline/run_config.hpp"

namespace refract {

// Of its one argument; ConfigError where there is none.
[[nodiscard]] RunConfig config_of(const CommandLine& line);

// What the command wants of the configuration.
[[nodiscard]] Asks asks_of(std::string_view command);

ExitCode run_command(const CommandLine& line);
ExitCode download_command(const CommandLine& line);
ExitCode tokenize_command(const CommandLine& line);
ExitCode extract_command(const CommandLine& line);
ExitCode train_command(const CommandLine& line);
ExitCode evaluate_command(const CommandLine& line);
ExitCode probe_command(const CommandLine& line);
ExitCode report_command(const CommandLine& line);
ExitCode export_command(const CommandLine& line);
ExitCode submit_command(const CommandLine& line);
ExitCode status_command(const CommandLine& line);
ExitCode table_command(const CommandLine& line);
ExitCode describe_command(const CommandLine& line);
ExitCode clean_command(const CommandLine& line);
ExitCode settings_command(const CommandLine& line);
ExitCode doctor_command(const CommandLine& line);
ExitCode selftest_command(const CommandLine& line);
ExitCode help_command(const CommandLine& line);

}  // namespace refract
