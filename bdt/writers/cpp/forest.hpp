namespace rootml {
inline namespace forest_@digest@ {
namespace @name@_tables {
@tables@

inline input_type clean(input_type v, std::size_t f) noexcept {
  constexpr input_type nan = std::numeric_limits<input_type>::quiet_NaN();
  (void)nan;
  (void)f;
  @clean@
  return v;
}

/// 1 where the test is false.
inline std::uint32_t goes_right(input_type x, input_type threshold) noexcept {
  return x @compare@ threshold ? 0 : 1;
}

/// The number of a category among those of a group of sets; the last for all others.
inline std::size_t category_number(std::size_t g, input_type v) noexcept {
  const std::int32_t code = @code@;
  const std::int32_t* value = set_value + set_values[g];
  const std::size_t count = set_values[g + 1] - set_values[g];
  if (code < 0 || count == 0) return count;
  if (static_cast<std::size_t>(code) < count && value[code] == code)
    return static_cast<std::size_t>(code);
  std::size_t low = 0;
  for (std::size_t left = count; left > 1;) {
    const std::size_t half = left / 2;
    low += value[low + half - 1] < code ? half : 0;
    left -= half;
  }
  return value[low] == code ? low : count;
}

inline output_type first_sum(std::size_t k) noexcept {
  (void)k;
  return @first_sum@;
}

/// From sums to margins.
inline void finish(const input_type* x, output_type* out) noexcept {
  (void)x;
  (void)out;
  @finish@
}

/// 256 times 1, then zeros: a rank as results of tests.
struct step_table {
  std::uint8_t at[576] = {};
  constexpr step_table() {
    for (std::size_t i = 0; i < 256; ++i) at[i] = 1;
  }
};
inline constexpr step_table steps;

/// How many thresholds of a group `v` is not below: its search tree, see search_tree in rootml.
template <std::uint32_t levels>
inline std::size_t rank_of(input_type v, const input_type* tree) noexcept {
  std::size_t h = 1;
  for (std::uint32_t level = 0; level < levels; ++level) h = 2 * h + goes_right(v, tree[h]);
  return h - (std::size_t(1) << levels);
}
inline std::size_t rank_of(std::uint32_t levels, input_type v, const input_type* tree) noexcept {
  (void)v;
  (void)tree;
  switch (levels) {  // numbers of levels that the compiler knows: twice as fast
@rank_cases@
    default: return 0;
  }
}

/// For each distinct test whether it is false: 1, go right. Writes up to 31 bytes more.
#if defined(__GNUC__)
__attribute__((noinline))  // gcc makes slower code of both steps together
#endif
inline void run_tests(const input_type* x, std::uint8_t* t) noexcept {
  const auto fill = [t](std::size_t begin, std::size_t rank, std::size_t count) {
    for (std::size_t j = 0; j < count; j += 32)
      std::memcpy(t + begin + j, steps.at + 256 - rank + j, 32);
  };
  for (std::size_t g = 0; g < num_groups; ++g) {
    const std::size_t f = group_feature[g], count = group_count[g];
    const input_type v = clean(x[f], f);
    const std::size_t rank = rank_of(group_levels[g], v, heap + group_heap[g]);
    if (group_right[g] != none) fill(group_right[g], rank, count);
    if (group_left[g] != none) fill(group_left[g], v == v ? rank : 0, count);
  }
  for (std::size_t g = 0; g < num_sets; ++g) {
    const std::size_t f = set_feature[g], count = set_count[g];
    const input_type v = clean(x[f], f);
    if (v != v) {
      std::memset(t + set_begin[g], set_nan_right[g], count);
      continue;
    }
    const std::size_t number = category_number(g, v);
    const std::uint8_t* row = set_bits + set_table[g] + number / 8 * count;
    for (std::size_t j = 0; j < count; ++j)
      t[set_begin[g] + j] = static_cast<std::uint8_t>((row[j] >> (number % 8)) & 1);
  }
}
}  // namespace @name@_tables
@blocks@
struct @name@ {
  using input_type = @real@;
  using output_type = @value@;
  static constexpr std::size_t num_features = @features@;
  static constexpr std::size_t num_outputs = @outputs@;          // margins of an event
  static constexpr std::size_t num_predictions = @predictions@;  // predictions of an event

  static const char* feature_name(std::size_t i) noexcept {
    static const char* const names[] = {@names@};
    return i < num_features ? names[i] : "";
  }
  static const char* objective() noexcept { return @objective@; }

  /// Margins of the event at x[0], ..., x[num_features - 1].
  void margin(const input_type* x, output_type* out) const noexcept {
    namespace T = @name@_tables;
    std::uint8_t t[T::num_tests + 32];
    T::run_tests(x, t);
    t[T::num_tests] = 0;
    for (std::size_t k = 0; k < num_outputs; ++k) out[k] = T::first_sum(k);
    @walk@
    T::finish(x, out);
  }

  /// Predictions of the event, as the training library's predict().
  void predict(const input_type* x, output_type* out) const noexcept {
    output_type margins[num_outputs];
    margin(x, margins);
    link(margins);
    for (std::size_t k = 0; k < num_predictions; ++k) out[k] = margins[k];
  }

  /// Margins and predictions of `rows` events behind one another, features of an event together.
  /// Many events are scored in blocks, in memory that is allocated once for the call.
  void margin(const input_type* x, std::size_t rows, output_type* out) const noexcept {
    for_each(x, rows, [out](std::size_t row, output_type* margins) {
      for (std::size_t k = 0; k < num_outputs; ++k) out[row * num_outputs + k] = margins[k];
    });
  }
  void predict(const input_type* x, std::size_t rows, output_type* out) const noexcept {
    for_each(x, rows, [out](std::size_t row, output_type* margins) {
      link(margins);
      for (std::size_t k = 0; k < num_predictions; ++k)
        out[row * num_predictions + k] = margins[k];
    });
  }
@single@
 private:
  template <class Use>
  void for_each(const input_type* x, std::size_t rows, const Use& use) const noexcept {
    std::size_t row = @name@_tables::run_blocks(x, rows, use);
    for (; row < rows; ++row) {
      output_type margins[num_outputs];
      margin(x + row * num_features, margins);
      use(row, margins);
    }
  }

  static void link(output_type* out) noexcept {
    @link@
  }
};

}  // namespace forest_@digest@
}  // namespace rootml
