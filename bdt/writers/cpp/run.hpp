namespace @name@_tables {

/// Scores blocks of events and hands each row's margins to `use`; how many rows it took.
template <class Use, class Work>
std::size_t run_with(const input_type* x, std::size_t rows, const Use& use, std::size_t events,
                     void (*block)(const input_type*, std::size_t, Work&)) noexcept {
  if (rows < events / 16) return 0;
  void* memory = std::malloc(sizeof(Work) + 64);
  if (memory == nullptr) return 0;
  auto address = reinterpret_cast<std::uintptr_t>(memory);
  Work& w = *reinterpret_cast<Work*>((address + 63) / 64 * 64);
  std::size_t row = 0;
  while (row < rows && rows - row >= events / 16) {
    const std::size_t some = rows - row < events ? rows - row : events;
    block(x + row * num_features, some, w);
    for (std::size_t i = 0; i < some; ++i) {
      finish(x + (row + i) * num_features, w.margins + i * num_outputs);
      use(row + i, w.margins + i * num_outputs);
    }
    row += some;
  }
  std::free(memory);
  return row;
}

#if defined(ROOTML_FOREST_X86)
/// 2: AVX-512 with VBMI and GFNI, 1: AVX2, 0: neither, or not enabled by the system.
inline int instructions() noexcept {
  unsigned a = 0, b = 0, c = 0, d = 0, state = 0, high = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
  __asm__ volatile("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
  if ((state & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 5 & 1)) return 0;
  const unsigned need = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  const bool is_new = (b & need) == need && (c >> 1 & 1) && (c >> 8 & 1);
  return is_new && (state & 0xe6) == 0xe6 ? 2 : 1;
}
#endif

template <class Use>
std::size_t run_blocks(const input_type* x, std::size_t rows, const Use& use) noexcept {
#if defined(ROOTML_FOREST_X86)
  static const int best = instructions();
#if !defined(ROOTML_FOREST_NO_AVX512)
  if (best == 2) return run_with(x, rows, use, avx512::events, avx512::block);
#endif
  if (best >= 1) return run_with(x, rows, use, avx2::events, avx2::block);
#elif defined(ROOTML_FOREST_NEON)
  return run_with(x, rows, use, neon::events, neon::block);
#endif
  (void)x;
  (void)rows;
  (void)use;
  return 0;
}

}  // namespace @name@_tables
