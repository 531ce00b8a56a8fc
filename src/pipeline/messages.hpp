#pragma once
// What the coordinator and the ranks tell each other: small texts (JSON), since files carry the
// data.
//
//   rank -> coordinator   done        a ticket is finished (every rank of it says so; its first
//                                     rank adds the result)
//                         checkpoint  a checkpoint is whole: to be named in the ledger
//                         progress    share of the running ticket that is done, and rows worked
//                                     through for it
//                         stop        this rank got a signal
//   coordinator -> rank   ticket      work, and what of the corpus was admitted since the last
//                         named       the ledger names every checkpoint you announced
//                         stop        finish at the next safe point
//                         end         no more tickets
#include <nlohmann/json.hpp>

#include <string>

#include "refract/comm/communicator.hpp"
#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/run_corpus.hpp"
#include "refract/pipeline/schedule.hpp"

namespace refract {

inline constexpr int kToCoordinator = 1, kToRank = 2;  // tags

using Json = nlohmann::ordered_json;

inline Json to_json(const Ticket& ticket) {
  return {{"work", static_cast<int>(ticket.work)}, {"index", ticket.index}};
}
inline Ticket ticket_from(const Json& json) {
  return {static_cast<Ticket::Work>(json.at("work").get<int>()), json.at("index")};
}

inline Json to_json(const Admitted& admitted) {
  return {{"shards", admitted.shards},
          {"windows", admitted.window_rows},
          {"first_window", admitted.first_window}};
}
inline Admitted admitted_from(const Json& json) {
  return {.shards = json.at("shards"),
          .window_rows = json.at("windows"),
          .first_window = json.at("first_window")};
}

}  // namespace refract
