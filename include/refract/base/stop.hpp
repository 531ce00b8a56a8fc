#pragma once
// A signal (USR1, TERM, INT) asks for a checkpoint at the next safe point. The handler only sets a
// flag.
namespace refract {

void install_stop_handlers();
[[nodiscard]] bool stop_requested();
void request_stop();  // as the handler does; for tests

}  // namespace refract
