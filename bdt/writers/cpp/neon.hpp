// NEON of aarch64: 128 events in a mask.

ROOTML_INLINE constexpr unsigned byte_of_sum(unsigned p) { return p; }

ROOTML_INLINE mask choose(mask bit, mask yes, mask no) noexcept {
  return reinterpret_cast<mask>(vbslq_u64(reinterpret_cast<uint64x2_t>(bit),
                                          reinterpret_cast<uint64x2_t>(yes),
                                          reinterpret_cast<uint64x2_t>(no)));
}

// The sign bits of 16 bytes, of the bytes doubled, and so on.
ROOTML_INLINE void sign_bits(const std::uint8_t* from, mask* plane, std::size_t part) noexcept {
  const std::uint8_t powers[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t power = vld1q_u8(powers);
  uint8x16_t x = vld1q_u8(from);
  ROOTML_UNROLL
  for (int k = 7; k >= 0; --k) {
    const uint8x16_t set = vandq_u8(power, vreinterpretq_u8_s8(vshrq_n_s8(vreinterpretq_s8_u8(x), 7)));
    const std::uint8_t found[2] = {vaddv_u8(vget_low_u8(set)), vaddv_u8(vget_high_u8(set))};
    std::memcpy(reinterpret_cast<char*>(plane + k) + 2 * part, found, 2);
    x = vaddq_u8(x, x);
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

template <unsigned levels>
ROOTML_INLINE void rank_in(const float* x, const float* heap, std::uint8_t* ranks) noexcept {
  rank_one_by_one(x, heap, levels, ranks);
}

// 64 bytes are looked up at once; byte k of 16 floats is loaded as one register.
template <unsigned depth>
ROOTML_INLINE void add_leaves(const bytes (&index)[8], const float* leaf, float* sums) noexcept {
  constexpr unsigned tables = depth > 4 ? 1u << (depth - 4) : 1;
  uint8x16_t plane[4][tables];
  float few[16] = {};
  if (depth < 4)
    ROOTML_UNROLL
    for (unsigned i = 0; i < 1u << depth; ++i) few[i] = leaf[i];
  ROOTML_UNROLL
  for (unsigned i = 0; i < tables; ++i) {
    const float* from = depth < 4 ? few : leaf + 16 * i;
    const uint8x16x4_t four = vld4q_u8(reinterpret_cast<const std::uint8_t*>(from));
    ROOTML_UNROLL
    for (unsigned k = 0; k < 4; ++k) plane[k][i] = four.val[k];
  }
  for (unsigned part = 0; part < 8; ++part) {
    const auto number = reinterpret_cast<uint8x16_t>(index[part]);
    uint8x16_t found[4];
    ROOTML_UNROLL
    for (unsigned k = 0; k < 4; ++k) {
      if constexpr (tables == 1) {
        found[k] = vqtbl1q_u8(plane[k][0], number);
      } else if constexpr (tables == 2) {
        found[k] = vqtbl2q_u8(uint8x16x2_t{{plane[k][0], plane[k][1]}}, number);
      } else {
        found[k] = vqtbl4q_u8(
            uint8x16x4_t{{plane[k][0], plane[k][1], plane[k][2], plane[k][3]}}, number);
      }
    }
    const uint8x16_t a = vzip1q_u8(found[0], found[1]), b = vzip2q_u8(found[0], found[1]);
    const uint8x16_t c = vzip1q_u8(found[2], found[3]), d = vzip2q_u8(found[2], found[3]);
    const uint16x8_t a2 = vreinterpretq_u16_u8(a), b2 = vreinterpretq_u16_u8(b);
    const uint16x8_t c2 = vreinterpretq_u16_u8(c), d2 = vreinterpretq_u16_u8(d);
    const uint16x8_t values[4] = {vzip1q_u16(a2, c2), vzip2q_u16(a2, c2), vzip1q_u16(b2, d2),
                                  vzip2q_u16(b2, d2)};
    ROOTML_UNROLL
    for (unsigned i = 0; i < 4; ++i) {
      float* at = sums + 16 * part + 4 * i;
      vst1q_f32(at, vaddq_f32(vld1q_f32(at), vreinterpretq_f32_u16(values[i])));
    }
  }
}
