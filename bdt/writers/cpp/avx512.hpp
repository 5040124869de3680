// AVX-512 with VBMI and GFNI: 512 events in a mask.

ROOTML_INLINE constexpr unsigned byte_of_sum(unsigned p) { return 4 * (p % 16) + p / 16; }

ROOTML_INLINE mask choose(mask bit, mask yes, mask no) noexcept {
  return reinterpret_cast<mask>(_mm512_ternarylogic_epi64(
      reinterpret_cast<__m512i>(bit), reinterpret_cast<__m512i>(yes),
      reinterpret_cast<__m512i>(no), 0xCA));
}

// The sign bits of 64 bytes, of the bytes doubled, and so on.
ROOTML_INLINE void sign_bits(const std::uint8_t* from, mask* plane, std::size_t part) noexcept {
  __m512i x = _mm512_loadu_si512(from);
  ROOTML_UNROLL
  for (int k = 7; k >= 0; --k) {
    const std::uint64_t found = _cvtmask64_u64(_mm512_movepi8_mask(x));
    std::memcpy(reinterpret_cast<char*>(plane + k) + 8 * part, &found, 8);
    x = _mm512_add_epi8(x, x);
  }
}

ROOTML_INLINE __m512i zip(__m512i x, __m512i y, unsigned size, unsigned high) noexcept {
  if (size == 1) return high ? _mm512_unpackhi_epi8(x, y) : _mm512_unpacklo_epi8(x, y);
  if (size == 2) return high ? _mm512_unpackhi_epi16(x, y) : _mm512_unpacklo_epi16(x, y);
  return high ? _mm512_unpackhi_epi32(x, y) : _mm512_unpacklo_epi32(x, y);
}

// 8 registers: byte p of all eight become one word of 64 bits, by three rounds of interleaving.
ROOTML_INLINE void zip_all(__m512i (&v)[8]) noexcept {
  __m512i s[8], t[8];
  ROOTML_UNROLL
  for (unsigned n = 0; n < 8; ++n) s[n] = zip(v[n & 6], v[n | 1], 1, n & 1);
  ROOTML_UNROLL
  for (unsigned n = 0; n < 8; ++n) {
    const unsigned first = (n & 4) + (n >> 1 & 1);
    t[n] = zip(s[first], s[first + 2], 2, n & 1);
  }
  ROOTML_UNROLL
  for (unsigned n = 0; n < 8; ++n) v[n] = zip(t[n / 2], t[4 + n / 2], 4, n & 1);
}

// Byte q of register `part` is then that of this event.
ROOTML_INLINE constexpr unsigned event_of_byte(unsigned part, unsigned q) {
  return 128 * (q / 16) + 16 * part + q % 16;
}

// From bit planes to one index byte for each event: 8 x 8 bits of a word by one instruction.
template <unsigned depth>
ROOTML_INLINE void transpose(bytes (&plane)[8]) noexcept {
  __m512i v[8];
  ROOTML_UNROLL
  for (unsigned k = 0; k < 8; ++k) v[k] = reinterpret_cast<__m512i>(plane[7 - k]);
  zip_all(v);
  const __m512i unit = _mm512_set1_epi64(0x8040201008040201);
  ROOTML_UNROLL
  for (unsigned k = 0; k < 8; ++k)
    plane[k] = reinterpret_cast<bytes>(_mm512_gf2p8affine_epi64_epi8(unit, v[k], 0));
}

// 16 values of a table of up to 256, by the low bits of `index`.
template <unsigned bits>
ROOTML_INLINE __m512 look_up(const __m512* table, __m512i index) noexcept {
  if constexpr (bits <= 4) {
    return _mm512_permutexvar_ps(index, table[0]);
  } else if constexpr (bits == 5) {
    return _mm512_permutex2var_ps(table[0], index, table[1]);
  } else {
    const __m512 low = look_up<bits - 1>(table, index);
    const __m512 high = look_up<bits - 1>(table + (1u << (bits - 5)), index);
    return _mm512_mask_blend_ps(_mm512_test_epi32_mask(index, _mm512_set1_epi32(1 << (bits - 1))),
                                low, high);
  }
}

template <unsigned levels>
ROOTML_INLINE void rank_in(const float* x, const float* heap, std::uint8_t* ranks) noexcept {
  __m512 table[levels > 4 ? 1u << (levels - 4) : 1];
  ROOTML_UNROLL
  for (unsigned i = 0; i < sizeof(table) / sizeof(*table); ++i)
    table[i] = _mm512_loadu_ps(heap + 16 * i);
  for (std::size_t e = 0; e < events; e += 16) {
    const __m512 v = _mm512_load_ps(x + e);
    __m512i h = _mm512_set1_epi32(1);
    const auto step = [&](__m512 threshold) ROOTML_LAMBDA {
      const __mmask16 right = _mm512_cmp_ps_mask(v, threshold, T::or_equal ? _CMP_NLE_UQ : _CMP_NLT_UQ);
      h = _mm512_add_epi32(h, h);
      h = _mm512_mask_sub_epi32(h, right, h, _mm512_set1_epi32(-1));
    };
    if constexpr (levels > 0) step(look_up<4>(table, h));
    if constexpr (levels > 1) step(look_up<4>(table, h));
    if constexpr (levels > 2) step(look_up<4>(table, h));
    if constexpr (levels > 3) step(look_up<4>(table, h));
    if constexpr (levels > 4) step(look_up<4>(table + 1, h));
    if constexpr (levels > 5) step(look_up<5>(table + 2, h));
    if constexpr (levels > 6) step(look_up<6>(table + 4, h));
    if constexpr (levels > 7) step(look_up<7>(table + 8, h));
    h = _mm512_and_si512(h, _mm512_set1_epi32((1 << levels) - 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(ranks + e), _mm512_cvtepi32_epi8(h));
  }
}

template <unsigned depth>
ROOTML_INLINE void add_leaves(const bytes (&index)[8], const float* leaf, float* sums) noexcept {
  __m512 table[depth > 4 ? 1u << (depth - 4) : 1];
  if constexpr (depth < 4) {
    table[0] = _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << (1u << depth)) - 1), leaf);
  } else {
    ROOTML_UNROLL
    for (unsigned i = 0; i < 1u << (depth - 4); ++i) table[i] = _mm512_loadu_ps(leaf + 16 * i);
  }
  for (unsigned part = 0; part < 8; ++part) {
    __m512i words = reinterpret_cast<__m512i>(index[part]);
    ROOTML_UNROLL
    for (unsigned byte = 0; byte < 4; ++byte) {
      float* at = sums + 64 * part + 16 * byte;
      _mm512_store_ps(at, _mm512_add_ps(_mm512_load_ps(at), look_up<depth>(table, words)));
      words = _mm512_srli_epi32(words, 8);
    }
  }
}
