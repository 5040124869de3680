
  /// The prediction of one event.
  @value@ operator()(const @real@* x) const noexcept {
    @value@ out;
    predict(x, &out);
    return out;
  }
  /// The same from one number for each feature, in their order.
  template <class... A, class = std::enable_if_t<sizeof...(A) == num_features &&
                                                 (... && std::is_arithmetic<A>::value)>>
  @value@ operator()(A... x) const noexcept {
    const @real@ row[] = {static_cast<@real@>(x)...};
    return (*this)(static_cast<const @real@*>(row));
  }
