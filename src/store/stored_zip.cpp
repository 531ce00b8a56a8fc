#include "store/stored_zip.hpp"

#include <zlib.h>

#include <vector>

namespace refract {
namespace {

constexpr std::uint64_t kAlignment = 64, kLocalBytes = 30, kZip64Bytes = 20, kFieldHead = 4;
constexpr std::uint32_t kInZip64 = 0xFFFFFFFF;  // the field stands in the Zip64 field or record
constexpr std::uint16_t kCountInZip64 = 0xFFFF, kZip64Field = 1, kPaddingField = 0x4246;
constexpr std::uint16_t kVersion45 = 45;           // the first with Zip64
constexpr std::uint16_t kFirstDay = (1 << 5) | 1;  // 1980-01-01, before which there is no date

// Little-endian numbers, one behind the other.
class Record {
 public:
  template <typename Number>
  Record& add(Number number) {
    for (std::size_t i = 0; i < sizeof(Number); ++i)
      bytes_.push_back(static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i)));
    return *this;
  }
  Record& add(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

struct Place {
  std::uint64_t header = 0, bytes = 0;  // offsets in the file
  std::uint32_t crc = 0;
};

// version, flags, method, time, date, crc, sizes, length of the name: what both headers share.
void add_common(Record& record, const ZipEntry& entry, const Place& place) {
  record.add(kVersion45).add(std::uint16_t{0}).add(std::uint16_t{0}).add(std::uint16_t{0});
  record.add(kFirstDay).add(place.crc).add(kInZip64).add(kInZip64);
  record.add(static_cast<std::uint16_t>(entry.name.size()));
}

std::string local_header(const ZipEntry& entry, const Place& place) {
  const std::uint64_t padding =
      place.bytes - place.header - kLocalBytes - entry.name.size() - kZip64Bytes - kFieldHead;
  const std::uint64_t size = entry.bytes.size();
  Record record;
  record.add(std::uint32_t{0x04034B50});
  add_common(record, entry, place);
  record.add(static_cast<std::uint16_t>(kZip64Bytes + kFieldHead + padding)).add(entry.name);
  record.add(kZip64Field).add(std::uint16_t{16}).add(size).add(size);
  record.add(kPaddingField).add(static_cast<std::uint16_t>(padding));
  return record.add(std::string(padding, '\0')).bytes();
}

void add_directory_entry(Record& record, const ZipEntry& entry, const Place& place) {
  const std::uint64_t size = entry.bytes.size();
  record.add(std::uint32_t{0x02014B50}).add(kVersion45);
  add_common(record, entry, place);
  record.add(static_cast<std::uint16_t>(kFieldHead + 24)).add(std::uint16_t{0});  // extra, comment
  record.add(std::uint16_t{0}).add(std::uint16_t{0}).add(std::uint32_t{0});  // disk, attributes
  record.add(kInZip64).add(entry.name);
  record.add(kZip64Field).add(std::uint16_t{24}).add(size).add(size).add(place.header);
}

// Behind the directory: the Zip64 record, where that stands, and the record of old.
void add_end(Record& record, std::uint64_t entries, std::uint64_t directory) {
  const std::uint64_t bytes = record.bytes().size();
  record.add(std::uint32_t{0x06064B50}).add(std::uint64_t{44}).add(kVersion45).add(kVersion45);
  record.add(std::uint32_t{0}).add(std::uint32_t{0}).add(entries).add(entries);
  record.add(bytes).add(directory);
  record.add(std::uint32_t{0x07064B50}).add(std::uint32_t{0}).add(directory + bytes);
  record.add(std::uint32_t{1});
  record.add(std::uint32_t{0x06054B50}).add(std::uint16_t{0}).add(std::uint16_t{0});
  record.add(kCountInZip64).add(kCountInZip64).add(kInZip64).add(kInZip64).add(std::uint16_t{0});
}

std::uint64_t aligned(std::uint64_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

std::uint32_t crc_of(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

WrittenFile write_stored_zip(const fs::path& path, std::span<const ZipEntry> entries) {
  std::vector<Place> places;
  std::uint64_t end = 0;
  Record directory;
  for (const ZipEntry& entry : entries) {
    const std::uint64_t least = kLocalBytes + entry.name.size() + kZip64Bytes + kFieldHead;
    const Place place{end, aligned(end + least), crc_of(entry.bytes)};
    add_directory_entry(directory, entry, place);
    places.push_back(place);
    end = place.bytes + entry.bytes.size();
  }
  add_end(directory, entries.size(), end);
  FileWriter file(path, end + directory.bytes().size());
  const auto write = [&](std::uint64_t offset, const std::string& text) {
    file.write(offset, std::as_bytes(std::span(text)));
  };
  for (std::size_t i = 0; i < entries.size(); ++i) {
    write(places[i].header, local_header(entries[i], places[i]));
    file.write(places[i].bytes, entries[i].bytes);
  }
  write(end, directory.bytes());
  return file.close();
}

}  // namespace refract
