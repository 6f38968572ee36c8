/* SPDX-License-Identifier: Apache-2.0 */
#include <fleetcast/base/units.h>

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <fleetcast/base/time.h>

/* The value must be exact, except where a unit divides (ulps = 1). */
static const struct {
  const char *text;
  double value;
  fc_dim dim;
} good[] = {
    {"3.35 TB/s", 3.35e12, {.byte = 1, .second = -1}},
    {"80 GB", 80e9, {.byte = 1}},
    {"80GB", 80e9, {.byte = 1}},
    {"80 GiB", 85899345920.0, {.byte = 1}},
    {"671 B", 671, {.byte = 1}},
    {"671 B tokens", 671e9, {.token = 1}},
    {"10 B/s", 10, {.byte = 1, .second = -1}},
    {"400 Gbit/s", 50e9, {.byte = 1, .second = -1}},
    {"2 USD/h", 2.0 / 3600, {.usd = 1, .second = -1}},
    {"2 $/h", 2.0 / 3600, {.usd = 1, .second = -1}},
    {"2 USD/GPU/h", 2.0 / 3600, {.usd = 1, .second = -1, .device = -1}},
    {"2 USD/GPU-h", 2.0 / 3600, {.usd = 1, .second = -1, .device = -1}},
    {"2.788 M GPU-h", 2.788e6 * 3600, {.device = 1, .second = 1}},
    {"2.788 M GPU-hours", 2.788e6 * 3600, {.device = 1, .second = 1}},
    {"14.8 T tokens", 14.8e12, {.token = 1}},
    {"14.8T tokens", 14.8e12, {.token = 1}},
    {"14.8 Ttokens", 14.8e12, {.token = 1}},
    {"480 T tokens/month", 480e12 / (FC_YEAR_S / 12), {.token = 1, .second = -1}},
    {"20 T tokens/91.25 d", 20e12 / (91.25 * 86400), {.token = 1, .second = -1}},
    {"56.3 %", 0.563, {0}},
    {"56.3%", 0.563, {0}},
    {"3.3x", 3.3, {0}},
    {"3.3 x/yr", 3.3 / FC_YEAR_S, {.second = -1}},
    {"3.3 /yr", 3.3 / FC_YEAR_S, {.second = -1}},
    {"0.087 USD/kWh", 87e-6 / 3600, {.usd = 1, .joule = -1}},
    {"989 TFLOP/s", 989e12, {.flop = 1, .second = -1}},
    {"989 TFLOPS", 989e12, {.flop = 1, .second = -1}},
    {"1.979 PFLOP/s", 1.979e15, {.flop = 1, .second = -1}},
    {"1979 TOPS", 1979e12, {.flop = 1, .second = -1}},
    {"250 GFLOPs", 250e9, {.flop = 1}},
    {"3.3e24 FLOP", 3.3e24, {.flop = 1}},
    {"3.3 YFLOP", 3.3e24, {.flop = 1}},
    {"3 EFLOP", 3e18, {.flop = 1}},
    {"3EFLOP", 3e18, {.flop = 1}},
    {"700 W", 700, {.joule = 1, .second = -1}},
    {"1.2 GW", 1.2e9, {.joule = 1, .second = -1}},
    {"5 kWh", 18e6, {.joule = 1}},
    {"4 us", 4e-6, {.second = 1}},
    {"4 \xc2\xb5s", 4e-6, {.second = 1}},
    {"4 \xce\xbcs", 4e-6, {.second = 1}},
    {"35 ms", 35e-3, {.second = 1}},
    {"12 ns", 12e-9, {.second = 1}},
    {"90 min", 5400, {.second = 1}},
    {"3 d", 259200, {.second = 1}},
    {"2 weeks", 1209600, {.second = 1}},
    {"5 years", 5 * FC_YEAR_S, {.second = 1}},
    {"500 k devices", 500e3, {.device = 1}},
    {"500k GPUs", 500e3, {.device = 1}},
    {"2048 chips", 2048, {.device = 1}},
    {"350 k/s", 350e3, {.second = -1}},
    {"350 requests/s", 350, {.request = 1, .second = -1}},
    {"350 Mreq/d", 350e6 / 86400, {.request = 1, .second = -1}},
    {"500 million users", 500e6, {.user = 1}},
    {"1 quadrillion tok", 1e15, {.token = 1}},
    {"5.58 M USD", 5.58e6, {.usd = 1}},
    {"2 USD/Mtoken", 2e-6, {.usd = 1, .token = -1}},
    {"70272 B/token", 70272, {.byte = 1, .token = -1}},
    {"9.8 s^2", 9.8, {.second = 2}},
    {"3 h^-1", 3.0 / 3600, {.second = -1}},
    {"2 USD / h", 2.0 / 3600, {.usd = 1, .second = -1}},
    {"-3", -3, {0}},
    {"+3", 3, {0}},
    {".5", 0.5, {0}},
    {"5.", 5, {0}},
    {"1e3", 1e3, {0}},
    {"1E-3", 1e-3, {0}},
    {" 7 ", 7, {0}},
    {"671 billion", 671e9, {0}},
    {"5 M", 5e6, {0}},
    {"5 Q", 5e15, {0}},
    {"0 GB", 0, {.byte = 1}},
    {"1e-400", 0, {0}},
};

Test(units, parses) {
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    double v = NAN;
    fc_dim dim;
    char why[FC_UNITS_TEXT] = "";
    bool ok = fc_quantity_parse(&v, &dim, good[i].text, strlen(good[i].text), why);
    cr_expect(ok, "%s: %s", good[i].text, why);
    if (!ok) continue;
    double ulp = nextafter(fabs(good[i].value), INFINITY) - fabs(good[i].value);
    cr_expect(fabs(v - good[i].value) <= ulp, "%s: %.17g, want %.17g", good[i].text, v, good[i].value);
    char have[FC_UNITS_TEXT], want[FC_UNITS_TEXT];
    fc_dim_format(have, dim);
    fc_dim_format(want, good[i].dim);
    cr_expect(fc_dim_equal(dim, good[i].dim), "%s: in %s, want %s", good[i].text, have, want);
  }
}

/* Decimal prefixes and scales are applied to the text: no rounding beyond that of the number itself. */
Test(units, decimal_scales_are_exact) {
  static const struct {
    const char *text;
    double value;
  } exact[] = {{"3.35 TB/s", 3.35e12},
               {"14.8 T tokens", 14.8e12},
               {"0.1 us", 0.1e-6},
               {"56.3 %", 0.563},
               {"4.8 TB/s", 4.8e12}};
  for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
    double v;
    fc_dim dim;
    cr_assert(fc_quantity_parse(&v, &dim, exact[i].text, strlen(exact[i].text), NULL));
    cr_expect(v == exact[i].value, "%s", exact[i].text);
  }
}

static const struct {
  const char *text, *why;
} bad[] = {
    {"", "expected a number, found nothing"},
    {"   ", "expected a number, found nothing"},
    {"GB", "'GB' is not a number"},
    {"nan", "'nan' is not a number"},
    {"inf", "'inf' is not a number"},
    {"-inf", "'-inf' is not a number"},
    {"0x10", "unexpected '10' after the unit"},
    {"1,000", "'1,000' is not a number"},
    {"1_000", "'1_000' is not a number"},
    {"1.2.3", "'1.2.3' is not a number"},
    {".", "'.' is not a number"},
    {"-", "'-' is not a number"},
    {"1e999", "'1e999' is too large"},
    {"1e99999999999999999999", "'1e99999999999999999999' is too large"},
    {"1e300 YB", "'1e300 YB' is too large"},
    {"3 TBs", "unknown unit 'TBs'; did you mean 'TB/s'?"},
    {"3 gb", "unknown unit 'gb'; did you mean 'GB'?"},
    {"3 KB", "unknown unit 'KB'; did you mean 'kB'?"},
    {"3 kwh", "unknown unit 'kwh'; did you mean 'kWh'?"},
    {"3 usd/h", "unknown unit 'usd'; did you mean 'USD'?"},
    {"3 tokns", "unknown unit 'tokns'; did you mean 'tokens'?"},
    {"3 GPSu", "unknown unit 'GPSu'; did you mean 'GPUs'?"},
    {"3 furlongs", "unknown unit 'furlongs'"},
    {"3 GB/", "expected a unit at ''"},
    {"3 /", "expected a unit at ''"},
    {"3 GB/0 s", "a unit cannot be divided by '0'"},
    {"3 GB//s", "expected a unit at '/s'"},
    {"3 GB s", "unexpected 's' after the unit"},
    {"3 GB/s x", "unexpected 'x' after the unit"},
    {"3 4", "expected a unit at '4'"},
    {"3 GB!", "unexpected '!' after the unit"},
    {"3 s^0", "the power of 's' is not an integer from 1 to 9"},
    {"3 s^10", "the power of 's' is not an integer from 1 to 9"},
    {"3 s^9*s^9", "the unit's powers are out of range"},
    {"3 M M tokens", "unknown unit 'M'"},
    {"3 Gdays", "unknown unit 'Gdays'; did you mean 'days'?"},
    {"3 kmin", "unknown unit 'kmin'; did you mean 'min'?"},
    {"3\xc3\xa9", "unknown unit '\xc3\xa9'"},
    {"11111111111111111111111111111111111111111111111111111111111111111111111111111111",
     "the number '1111111111111111111111111111111111111111...' has too many digits"},
};

Test(units, rejects_with_a_reason) {
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    double v = 42;
    fc_dim dim = FC_DIM_BYTES;
    char why[FC_UNITS_TEXT] = "";
    cr_expect(!fc_quantity_parse(&v, &dim, bad[i].text, strlen(bad[i].text), why), "%s", bad[i].text);
    cr_expect(v == 42 && fc_dim_equal(dim, FC_DIM_BYTES), "%s: touched its output", bad[i].text);
    cr_expect_str_eq(why, bad[i].why);
  }
}

Test(units, nul_byte_is_no_terminator) {
  double v;
  fc_dim dim;
  cr_expect(!fc_quantity_parse(&v, &dim, "80\0GB", 5, NULL));
}

static const struct {
  double value;
  fc_dim dim;
  const char *text;
} shown[] = {
    {3.35e12, {.byte = 1, .second = -1}, "3.35 TB/s"},
    {80e9, {.byte = 1}, "80 GB"},
    {512, {.byte = 1}, "512 B"},
    {0, {.byte = 1}, "0 B"},
    {2.0 / 3600, {.usd = 1, .second = -1}, "2 USD/h"},
    {25000, {.usd = 1}, "25000 USD"},
    {5.58e6, {.usd = 1}, "5.58 M USD"},
    {0.087 / 3.6e6, {.usd = 1, .joule = -1}, "0.087 USD/kWh"},
    {14.8e12, {.token = 1}, "14.8 T tokens"},
    {989e12, {.flop = 1, .second = -1}, "989 TFLOP/s"},
    {3.3e24, {.flop = 1}, "3.3 YFLOP"},
    {700, {.joule = 1, .second = -1}, "700 W"},
    {3.6e9, {.joule = 1}, "1 MWh"},
    {100, {.joule = 1}, "100 J"},
    {5e-6, {.second = 1}, "5 us"},
    {12e-9, {.second = 1}, "12 ns"},
    {90, {.second = 1}, "1.5 min"},
    {5400, {.second = 1}, "1.5 h"},
    {259200, {.second = 1}, "3 d"},
    {3 * FC_YEAR_S, {.second = 1}, "3 yr"},
    {3.3 / FC_YEAR_S, {.second = -1}, "3.3 /yr"},
    {2.788e6 * 3600, {.device = 1, .second = 1}, "2.788 M device-h"},
    {0, {.device = 1}, "0 devices"},
    {500e3, {.device = 1}, "500000 devices"},
    {-80e9, {.byte = 1}, "-80 GB"},
    {0.563, {0}, "0.563"},
    {70272, {.byte = 1, .token = -1}, "70272 bytes/tokens"},
};

Test(units, formats_as_a_reader_expects) {
  for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
    char text[FC_UNITS_TEXT];
    fc_quantity_format(text, shown[i].value, shown[i].dim);
    cr_expect_str_eq(text, shown[i].text);
  }
}

Test(units, what_is_formatted_parses_back) {
  static const fc_dim dims[] = {{0},
                                {.byte = 1},
                                {.byte = 1, .second = -1},
                                {.flop = 1},
                                {.flop = 1, .second = -1},
                                {.joule = 1},
                                {.usd = 1},
                                {.joule = 1, .second = -1},
                                {.token = 1},
                                {.token = 1, .second = -1},
                                {.user = 1},
                                {.second = 1},
                                {.usd = 1, .second = -1},
                                {.second = -1},
                                {.usd = 1, .joule = -1},
                                {.request = 1, .second = -1},
                                {.device = 1, .second = 1},
                                {.usd = 2, .byte = -3, .user = 1},
                                {.second = -2}};
  for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
    for (int e = -20; e <= 27; e++)
      for (int m = 0; m < 4; m++) {
        static const double mantissa[] = {1, 3.14159265358979, 9.99999999999, -2.5};
        double v = mantissa[m] * pow(10, e), back = NAN;
        char text[FC_UNITS_TEXT], why[FC_UNITS_TEXT] = "";
        fc_dim dim;
        fc_quantity_format(text, v, dims[i]);
        cr_assert(fc_quantity_parse(&back, &dim, text, strlen(text), why), "'%s': %s", text, why);
        cr_expect(fabs(back - v) <= 6e-12 * fabs(v), "'%s': %.17g, want %.17g", text, back, v);
        cr_expect(fc_dim_equal(dim, dims[i]), "'%s'", text);
      }
}

Test(units, dimension_words) {
  char text[FC_UNITS_TEXT];
  fc_dim_format(text, FC_DIM_NONE);
  cr_expect_str_eq(text, "a plain number");
  fc_dim_format(text, FC_DIM_USD_PER_SECOND);
  cr_expect_str_eq(text, "USD/s");
  fc_dim_format(text, FC_DIM_WATTS);
  cr_expect_str_eq(text, "W");
  fc_dim_format(text, (fc_dim){.second = -2});
  cr_expect_str_eq(text, "/s^2");
}
