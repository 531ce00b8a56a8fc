#include "refract/stages/report.hpp"

#include "refract/base/digest.hpp"
#include "report_data.hpp"
#include "report_page.hpp"

namespace refract {
namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (std::size_t j = 0; j < 4; ++j)
      text.push_back(i + j <= bytes.size() ? kAlphabet[group >> (18 - 6 * j) & 63u] : '=');
  }
  return text;
}

// A content-security-policy source: the browser runs exactly this text and nothing else.
std::string hash_source(std::string_view content) {
  const std::string hex = sha256_hex(content);
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return "'sha256-" + base64(bytes) + "'";
}

std::string data_element(std::string_view id, const std::string& json) {
  return "<script type=\"application/json\" id=\"" + std::string(id) + "\">" + json + "</script>\n";
}

}  // namespace

std::string make_report(const ReportInput& input) {
  const std::string style(report_style()), script(report_script());
  std::string page = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  page += "<meta name=\"color-scheme\" content=\"light dark\">\n";
  page += "<meta name=\"referrer\" content=\"no-referrer\">\n";
  page += "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src " +
          hash_source(style) + "; script-src " + hash_source(script) +
          "; base-uri 'none'; form-action 'none'\">\n";
  page += "<title>refract report</title>\n<style>" + style + "</style>\n</head>\n<body>\n";
  page += report_body();
  page += data_element("report-data", embeddable(report_data(input)));
  page += "<!-- run history: the only part that may differ between equal runs -->\n";
  page += data_element("history-data", embeddable(history_data(input)));
  page += "<!-- end of run history -->\n";
  page += "<script>" + script + "</script>\n</body>\n</html>\n";
  return page;
}

}  // namespace refract
