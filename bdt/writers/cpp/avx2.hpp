// AVX2: 256 events in a mask.

ROOTML_INLINE constexpr unsigned byte_of_sum(unsigned p) {
  return 16 * (p % 8 / 4) + 4 * (p / 8) + p % 4;
}

ROOTML_INLINE mask choose(mask bit, mask yes, mask no) noexcept {
  return no ^ (bit & (yes ^ no));
}

// The sign bits of 32 bytes, of the bytes doubled, and so on.
ROOTML_INLINE void sign_bits(const std::uint8_t* from, mask* plane, std::size_t part) noexcept {
  __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  ROOTML_UNROLL
  for (int k = 7; k >= 0; --k) {
    const int found = _mm256_movemask_epi8(x);
    std::memcpy(reinterpret_cast<char*>(plane + k) + 4 * part, &found, 4);
    x = _mm256_add_epi8(x, x);
  }
}

// From bit planes to one index byte for each event: byte q of register `part` is that of event
// 8 q + part. Bits are swapped between planes, in blocks of 4 x 4, 2 x 2 and 1 x 1.
ROOTML_INLINE constexpr unsigned event_of_byte(unsigned part, unsigned q) { return 8 * q + part; }

template <unsigned size>
ROOTML_INLINE void swap_bits(bytes& low, bytes& high) noexcept {
  constexpr std::uint64_t keep = size == 4   ? 0x0F0F0F0F0F0F0F0F
                                 : size == 2 ? 0x3333333333333333
                                             : 0x5555555555555555;
  mask x = reinterpret_cast<mask&>(low), y = reinterpret_cast<mask&>(high);
  const mask swap = ((x >> size) ^ y) & keep;
  x ^= swap << size;
  y ^= swap;
  low = reinterpret_cast<bytes&>(x);
  high = reinterpret_cast<bytes&>(y);
}

template <unsigned depth>
ROOTML_INLINE void transpose(bytes (&plane)[8]) noexcept {
  ROOTML_UNROLL
  for (unsigned k = 0; k < 4; ++k) swap_bits<4>(plane[k], plane[k + 4]);
  ROOTML_UNROLL
  for (unsigned k = 0; k < 4; ++k) swap_bits<2>(plane[k + (k & 2)], plane[k + (k & 2) + 2]);
  ROOTML_UNROLL
  for (unsigned k = 0; k < 8; k += 2) swap_bits<1>(plane[k], plane[k + 1]);
}

// 8 values of a table, by the low bits of `index`.
template <unsigned bits>
ROOTML_INLINE __m256 look_up(const __m256* table, __m256i index) noexcept {
  if constexpr (bits <= 3) {
    return _mm256_permutevar8x32_ps(table[0], index);
  } else {
    const __m256 low = look_up<bits - 1>(table, index);
    const __m256 high = look_up<bits - 1>(table + (1u << (bits - 4)), index);
    const __m256i sign = _mm256_slli_epi32(index, 32 - bits);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(sign));
  }
}

template <unsigned levels>
ROOTML_INLINE void rank_in(const float* x, const float* heap, std::uint8_t* ranks) noexcept {
  constexpr unsigned in_vectors = levels < 6 ? levels : 6;
  __m256 table[in_vectors > 3 ? 1u << (in_vectors - 3) : 1];
  ROOTML_UNROLL
  for (unsigned i = 0; i < sizeof(table) / sizeof(*table); ++i)
    table[i] = _mm256_loadu_ps(heap + 8 * i);
  for (std::size_t e = 0; e < events; e += 8) {
    const __m256 v = _mm256_load_ps(x + e);
    __m256i h = _mm256_set1_epi32(1);
    const auto step = [&](__m256 threshold) ROOTML_LAMBDA {
      const __m256 right = _mm256_cmp_ps(v, threshold, T::or_equal ? _CMP_NLE_UQ : _CMP_NLT_UQ);
      h = _mm256_sub_epi32(_mm256_add_epi32(h, h), _mm256_castps_si256(right));
    };
    if constexpr (levels > 0) step(look_up<3>(table, h));
    if constexpr (levels > 1) step(look_up<3>(table, h));
    if constexpr (levels > 2) step(look_up<3>(table, h));
    if constexpr (levels > 3) step(look_up<3>(table + 1, h));
    if constexpr (levels > 4) step(look_up<4>(table + 2, h));
    if constexpr (levels > 5) step(look_up<5>(table + 4, h));
    for (unsigned level = 6; level < levels; ++level) {
      alignas(32) std::uint32_t at[8];
      _mm256_store_si256(reinterpret_cast<__m256i*>(at), h);
      step(_mm256_setr_ps(heap[at[0]], heap[at[1]], heap[at[2]], heap[at[3]], heap[at[4]],
                          heap[at[5]], heap[at[6]], heap[at[7]]));
    }
    h = _mm256_and_si256(h, _mm256_set1_epi32((1 << levels) - 1));
    const __m128i words =
        _mm_packus_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(ranks + e), _mm_packus_epi16(words, words));
  }
}

// Byte k of 16 floats, for k = 0 .. 3, in both halves of a register.
ROOTML_INLINE void byte_planes(const float* leaf, __m256i* plane, std::size_t stride) noexcept {
  const __m256i quads = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4,
                                         8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const auto* from = reinterpret_cast<const __m256i*>(leaf);
  const __m256i a = _mm256_shuffle_epi8(_mm256_loadu_si256(from), quads);
  const __m256i b = _mm256_shuffle_epi8(_mm256_loadu_si256(from + 1), quads);
  // dwords: a = a0 a1 a2 a3 | A0 A1 A2 A3, and so b; plane k is ak Ak bk Bk
  const __m256i low = _mm256_unpacklo_epi32(a, b), high = _mm256_unpackhi_epi32(a, b);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
  const __m256i next = _mm256_setr_epi32(2, 6, 3, 7, 2, 6, 3, 7);
  plane[0] = _mm256_permutevar8x32_epi32(low, order);
  plane[stride] = _mm256_permutevar8x32_epi32(low, next);
  plane[2 * stride] = _mm256_permutevar8x32_epi32(high, order);
  plane[3 * stride] = _mm256_permutevar8x32_epi32(high, next);
}

template <unsigned depth>
ROOTML_INLINE void add_leaves(const bytes (&index)[8], const float* leaf, float* sums) noexcept {
  constexpr unsigned tables = depth > 4 ? 1u << (depth - 4) : 1;
  __m256i plane[4 * tables];
  if constexpr (depth < 4) {
    float few[16] = {};
    ROOTML_UNROLL
    for (unsigned i = 0; i < 1u << depth; ++i) few[i] = leaf[i];
    byte_planes(few, plane, tables);
  } else {
    ROOTML_UNROLL
    for (unsigned i = 0; i < tables; ++i) byte_planes(leaf + 16 * i, plane + i, tables);
  }
  ROOTML_UNROLL
  for (unsigned i = 4 * tables - 1; i > 0; --i)  // each the difference from the one before it
    if (i % tables) plane[i] = _mm256_xor_si256(plane[i], plane[i - 1]);
  for (unsigned part = 0; part < 8; ++part) {
    const __m256i number = reinterpret_cast<__m256i>(index[part]);
    // a byte with its sign bit set gives 0: the tables from the first to the right one contribute
    __m256i inside = number, found[4];
    ROOTML_UNROLL
    for (unsigned k = 0; k < 4; ++k) found[k] = _mm256_shuffle_epi8(plane[k * tables], inside);
    ROOTML_UNROLL
    for (unsigned i = 1; i < tables; ++i) {
      inside = _mm256_sub_epi8(inside, _mm256_set1_epi8(16));
      ROOTML_UNROLL
      for (unsigned k = 0; k < 4; ++k)
        found[k] =
            _mm256_xor_si256(found[k], _mm256_shuffle_epi8(plane[k * tables + i], inside));
    }
    const __m256i a = _mm256_unpacklo_epi8(found[0], found[1]);
    const __m256i b = _mm256_unpackhi_epi8(found[0], found[1]);
    const __m256i c = _mm256_unpacklo_epi8(found[2], found[3]);
    const __m256i d = _mm256_unpackhi_epi8(found[2], found[3]);
    const __m256i values[4] = {_mm256_unpacklo_epi16(a, c), _mm256_unpackhi_epi16(a, c),
                               _mm256_unpacklo_epi16(b, d), _mm256_unpackhi_epi16(b, d)};
    ROOTML_UNROLL
    for (unsigned i = 0; i < 4; ++i) {
      float* at = sums + 32 * part + 8 * i;
      _mm256_store_ps(at, _mm256_add_ps(_mm256_load_ps(at), _mm256_castsi256_ps(values[i])));
    }
  }
}
