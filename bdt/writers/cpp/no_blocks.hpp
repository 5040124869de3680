
namespace @name@_tables {
template <class Use>
std::size_t run_blocks(const input_type*, std::size_t, const Use&) noexcept {
  return 0;  // deep or irregular trees: event by event
}
}  // namespace @name@_tables
