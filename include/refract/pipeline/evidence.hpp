#pragma once
// evidence.h5: the training rows that probing reads, kept for good, so that what a report says does
// not depend on which chunks the quota had evicted. A chunk file (schema activation-chunk) made of
// the first blocks of evenly spaced chunks, probe.tokens rows in all.
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "refract/pipeline/ledger.hpp"
#include "refract/pipeline/session.hpp"
#include "refract/store/chunk.hpp"

namespace refract {

struct EvidenceBlock {
  std::uint64_t chunk = 0, block = 0;
  friend bool operator==(const EvidenceBlock&, const EvidenceBlock&) = default;
};

struct EvidencePlan {
  std::uint64_t block_rows = 0;
  std::vector<EvidenceBlock> blocks;  // of evidence.h5, in order; none while rows are not known
  [[nodiscard]] std::uint64_t rows() const { return blocks.size() * block_rows; }
  [[nodiscard]] std::string digest() const;
};

// Of `rows` rows to train on, `wanted` (rounded down to whole blocks, at least one) are kept: chunk
// c of C gives its first (c+1)B/C - cB/C blocks. A last chunk with shorter blocks gives none,
// unless it is the only one.
[[nodiscard]] EvidencePlan plan_evidence(const OrderRule& rule, std::uint64_t rows,
                                         std::uint64_t wanted);
// Of this run: by the rows it will train on, which are known before chunk 0.
[[nodiscard]] EvidencePlan plan_evidence(const Session& session);

// World rank 0, while chunks are sealed: copies their blocks into evidence.h5 and seals it when it
// is whole. Each block is durable by itself, so that a kill loses none; open once, so that a chunk
// costs only its own blocks.
class EvidenceKeeper {
 public:
  explicit EvidenceKeeper(Session& session);
  ~EvidenceKeeper();  // what is not whole stays for the next attempt
  EvidenceKeeper(const EvidenceKeeper&) = delete;
  // Sealed, with this digest; nothing to do for blocks that are there. Damaged when the chunk's
  // file is not what was sealed.
  void keep(std::uint64_t chunk, const std::string& digest);

 private:
  struct Open;
  std::unique_ptr<Open> open_;
};

// World rank 0, before probing: evidence.h5 is whole, verified, and of the present plan. What is
// missing (a chunk evicted before, another probe.tokens, a damaged file) is copied from the sealed
// chunks that are whole and computed again for the others. true when anything was made.
// StopRequested between blocks.
bool complete_evidence(Session& session, const std::map<std::uint64_t, ChunkRecord>& sealed);

}  // namespace refract
