namespace @isa@ {

namespace T = @name@_tables;
using T::input_type;
using T::output_type;

// Events of a block: one bit of a mask each. A mask is one register.
constexpr std::size_t width = @width@;
constexpr std::size_t events = 8 * width;
typedef std::uint64_t mask __attribute__((vector_size(width), may_alias));
typedef std::uint8_t bytes __attribute__((vector_size(width), may_alias));

// Whether leaves are looked up in registers, and up to which depth; else one by one.
constexpr bool in_registers =
    std::is_same<output_type, float>::value && T::leaf_width == 1;
constexpr unsigned register_depth = in_registers ? @register_depth@ : 0;

struct work {
  alignas(64) mask masks[T::num_tests + 1];
  alignas(64) mask functions[T::num_sets ? 256 : 1];
  alignas(64) input_type columns[T::num_features][events];
  alignas(64) output_type sums[T::num_outputs][events];
  alignas(64) std::uint8_t ranks[events], missing[events];
  alignas(64) output_type margins[events * T::num_outputs];
};

// Ranks of a column among the thresholds of a group, held as a search tree: the children of h are
// 2 h and 2 h + 1. The rank is the number of tests that are false; of NaN, all.
//
//   h = 1;  repeat levels times: h = 2 h + !(x < heap[h]);  rank = h - 2**levels
template <class R>
inline void rank_one_by_one(const R* x, const R* heap, unsigned levels,
                            std::uint8_t* ranks) noexcept {
  for (std::size_t e = 0; e < events; e += 8) {
    std::uint32_t h[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (unsigned level = 0; level < levels; ++level)
      for (unsigned i = 0; i < 8; ++i) h[i] = 2 * h[i] + T::goes_right(x[e + i], heap[h[i]]);
    for (unsigned i = 0; i < 8; ++i)
      ranks[e + i] = static_cast<std::uint8_t>(h[i] & ((1u << levels) - 1));
  }
}

// --- what differs between processors ---------------------------------------------------------
@primitives@
inline void rank_all(const double* x, const double* heap, unsigned levels,
                     std::uint8_t* ranks) noexcept {
  rank_one_by_one(x, heap, levels, ranks);
}
inline void rank_all(const float* x, const float* heap, unsigned levels,
                     std::uint8_t* ranks) noexcept {
  switch (levels) {
    case 1: rank_in<1>(x, heap, ranks); break;
    case 2: rank_in<2>(x, heap, ranks); break;
    case 3: rank_in<3>(x, heap, ranks); break;
    case 4: rank_in<4>(x, heap, ranks); break;
    case 5: rank_in<5>(x, heap, ranks); break;
    case 6: rank_in<6>(x, heap, ranks); break;
    case 7: rank_in<7>(x, heap, ranks); break;
    default: rank_in<8>(x, heap, ranks); break;
  }
}

// --- masks --------------------------------------------------------------------------------------

// Bit k of 8 * width bytes, as masks plane[0] (the lowest) to plane[7].
ROOTML_INLINE void bit_planes(const std::uint8_t* from, mask* plane) noexcept {
  for (std::size_t k = 0; k < 8; ++k) plane[k] = mask{};
  for (std::size_t part = 0; part < 8; ++part) sign_bits(from + part * width, plane, part);
}

// found[c] = the number with these bit planes is >= c, for c = 0 .. 15.
ROOTML_INLINE void at_least(const mask* plane, mask* found) noexcept {
  found[0] = ~mask{};
  ROOTML_UNROLL
  for (unsigned k = 0; k < 4; ++k) {
    const unsigned known = 1u << k;
    ROOTML_UNROLL
    for (unsigned c = 0; c < known; ++c) {
      found[c + known] = plane[k] & found[c];
      found[c] = plane[k] | found[c];
    }
  }
}

// masks[c - 1] = rank >= c: the tests with the first `count` thresholds are false.
ROOTML_INLINE void masks_of_ranks(const mask* plane, mask hidden, std::size_t count,
                                  mask* masks) noexcept {
  mask low[16], high[17];
  at_least(plane, low);
  at_least(plane + 4, high);
  high[16] = mask{};
  for (std::size_t first = 0; first <= count; first += 16) {
    const mask above = high[first / 16 + 1] & ~hidden, here = high[first / 16] & ~above & ~hidden;
    const std::size_t end = count + 1 < first + 16 ? count + 1 : first + 16;
    if (end == first + 16) {
      for (std::size_t c = first ? 0 : 1; c < 16; ++c) masks[first + c - 1] = above | (here & low[c]);
    } else {
      for (std::size_t c = first ? first : 1; c < end; ++c)
        masks[c - 1] = above | (here & low[c - first]);
    }
  }
}

inline void numeric_masks(work& w) noexcept {
  for (std::size_t g = 0; g < T::num_groups; ++g) {
    const input_type* x = w.columns[T::group_feature[g]];
    const unsigned levels = T::group_levels[g];
    rank_all(x, T::heap + T::group_heap[g], levels, w.ranks);
    mask plane[8], missing[8];
    bit_planes(w.ranks, plane);
    const std::size_t count = T::group_count[g];
    if (T::group_right[g] != T::none)
      masks_of_ranks(plane, mask{}, count, w.masks + T::group_right[g]);
    if (T::group_left[g] == T::none) continue;
    for (std::size_t e = 0; e < events; ++e) w.missing[e] = x[e] != x[e] ? 128 : 0;
    bit_planes(w.missing, missing);
    masks_of_ranks(plane, missing[7], count, w.masks + T::group_left[g]);
  }
}

// Category sets. A category has a number among those of its group, the last for all others.
//
//   functions[b] = bit (number & 7) of the byte b, for all 256 bytes
//   mask of a set = OR over k: functions[byte k of the set] & (number >> 3 == k)
inline void set_masks(work& w) noexcept {
  for (std::size_t g = 0; g < T::num_sets; ++g) {
    const input_type* x = w.columns[T::set_feature[g]];
    const std::size_t count = T::set_count[g], bytes_each = T::set_bytes[g];
    mask* masks = w.masks + T::set_begin[g];
    for (std::size_t j = 0; j < count; ++j) masks[j] = mask{};
    for (std::size_t first = 0; first < bytes_each; first += 32) {  // 256 numbers at a time
      for (std::size_t e = 0; e < events; ++e) {
        const std::size_t number = T::category_number(g, x[e]);
        const bool here = number / 256 == first / 32 && x[e] == x[e];
        w.ranks[e] = static_cast<std::uint8_t>(number & 255);
        w.missing[e] = here ? 128 : 0;
      }
      mask plane[8], inside[8], one[8];
      bit_planes(w.ranks, plane);
      bit_planes(w.missing, inside);
      for (unsigned c = 0; c < 8; ++c)
        one[c] = inside[7] & (c & 1 ? plane[0] : ~plane[0]) & (c & 2 ? plane[1] : ~plane[1]) &
                 (c & 4 ? plane[2] : ~plane[2]);
      w.functions[0] = mask{};
      for (unsigned c = 0; c < 8; ++c)
        for (unsigned b = 0; b < 1u << c; ++b)
          w.functions[b + (1u << c)] = w.functions[b] | one[c];
      const std::size_t end = bytes_each < first + 32 ? bytes_each : first + 32;
      for (std::size_t k = first; k < end; ++k) {
        mask here = ~mask{};
        for (unsigned b = 0; b < 5; ++b)
          here &= ((k - first) >> b) & 1 ? plane[3 + b] : ~plane[3 + b];
        const std::uint8_t* set = T::set_bits + T::set_table[g] + k * count;
        for (std::size_t j = 0; j < count; ++j) masks[j] |= w.functions[set[j]] & here;
      }
    }
    if (!T::set_nan_right[g]) continue;
    mask missing[8];
    for (std::size_t e = 0; e < events; ++e) w.missing[e] = x[e] != x[e] ? 128 : 0;
    bit_planes(w.missing, missing);
    for (std::size_t j = 0; j < count; ++j) masks[j] |= missing[7];
  }
}

// --- trees --------------------------------------------------------------------------------------

// The mask of the node at `level` to which the bits above it lead: 2**level masks, halved by each.
template <unsigned level, unsigned above, unsigned place, class N>
ROOTML_INLINE mask chosen(const mask* masks, const N* node, const mask* bit) noexcept {
  if constexpr (above == level) {
    return masks[node[(1u << level) + place]];
  } else {
    return choose(bit[above], chosen<level, above + 1, 2 * place + 1>(masks, node, bit),
                  chosen<level, above + 1, 2 * place>(masks, node, bit));
  }
}

template <unsigned depth, unsigned level, class N>
ROOTML_INLINE void leaf_bits(const mask* masks, const N* node, mask* bit) noexcept {
  if constexpr (level < depth) {
    bit[level] = chosen<level, 0, 0>(masks, node, bit);
    leaf_bits<depth, level + 1>(masks, node, bit);
  }
}

// Which event each sum belongs to.
struct event_order {
  std::uint16_t event[events] = {};
};
constexpr event_order make_order() {
  event_order made;
  for (unsigned part = 0; part < 8; ++part)
    for (unsigned p = 0; p < width; ++p) {
      const unsigned q = in_registers ? byte_of_sum(p) : p;
      made.event[part * width + p] = static_cast<std::uint16_t>(event_of_byte(part, q));
    }
  return made;
}
inline constexpr event_order order = make_order();

template <unsigned depth, class N>
inline __attribute__((noinline)) void tree(const mask* masks, const N* node,
                                           const output_type* leaf, work& w,
                                           std::size_t output) noexcept {
  mask bit[depth + 1];
  leaf_bits<depth, 0>(masks, node, bit);
  bytes index[8];
  for (unsigned k = 0; k < 8; ++k) index[k] = bytes{};
  ROOTML_UNROLL
  for (unsigned k = 0; k < depth; ++k) index[k] = reinterpret_cast<bytes&>(bit[depth - 1 - k]);
  transpose<depth>(index);
  output_type* sums = w.sums[output];
  if constexpr (depth <= register_depth) {
    add_leaves<depth>(index, leaf, sums);
  } else {
    for (unsigned part = 0; part < 8; ++part) {
      const bytes here = index[part];
      const auto* number = reinterpret_cast<const std::uint8_t*>(&here);
      for (unsigned p = 0; p < width; ++p) {
        const output_type* at = leaf + T::leaf_width * number[in_registers ? byte_of_sum(p) : p];
        for (std::size_t k = 0; k < T::leaf_width; ++k) w.sums[output + k][part * width + p] += at[k];
      }
    }
  }
}

inline void all_trees(work& w) noexcept {
  for (std::size_t p = 0; p < T::num_trees; ++p) {
    const auto* node = T::node + T::tree_node[p];
    const output_type* leaf = T::leaf + T::tree_leaf[p];
    const std::size_t output = T::output_of(p);
    switch (T::depth[p / T::together]) {
@cases@
      default: break;
    }
  }
}

// --- a block ------------------------------------------------------------------------------------

inline void columns_of(const input_type* x, std::size_t rows, work& w) noexcept {
  for (std::size_t first = 0; first < events; first += 16)
    for (std::size_t f = 0; f < T::num_features; ++f)
      for (std::size_t e = first; e < first + 16; ++e)
        w.columns[f][e] = e < rows ? T::clean(x[e * T::num_features + f], f) : input_type(0);
}

inline void finish(work& w) noexcept {
  for (std::size_t k = 0; k < T::num_outputs; ++k)
    for (std::size_t p = 0; p < events; ++p)
      w.margins[order.event[p] * T::num_outputs + k] = w.sums[k][p];
}

// Margins of the sums of up to `events` rows, into w.margins.
inline __attribute__((noinline)) void block(const input_type* x, std::size_t rows, work& w) noexcept {
  columns_of(x, rows, w);
  numeric_masks(w);
  set_masks(w);
  w.masks[T::num_tests] = mask{};
  for (std::size_t k = 0; k < T::num_outputs; ++k)
    for (std::size_t e = 0; e < events; ++e) w.sums[k][e] = T::first_sum(k);
  all_trees(w);
  finish(w);
}

}  // namespace @isa@
