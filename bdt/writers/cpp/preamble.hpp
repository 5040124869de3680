#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0)
#error "a rootml forest: compile without -ffast-math, which reorders sums and ignores NaN"
#endif
#if !defined(ROOTML_FOREST_INLINE)
#define ROOTML_FOREST_INLINE
#if !defined(ROOTML_FOREST_SCALAR) && defined(__GNUC__)
#if defined(__x86_64__)
#define ROOTML_FOREST_X86
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#define ROOTML_FOREST_NEON
#include <arm_neon.h>
#endif
#define ROOTML_INLINE inline __attribute__((always_inline))
#define ROOTML_LAMBDA __attribute__((always_inline))
#if defined(__CLING__)
#define ROOTML_UNROLL  // which warns where it does not
#elif defined(__clang__)
#define ROOTML_UNROLL _Pragma("unroll")
#else
#define ROOTML_UNROLL _Pragma("GCC unroll 64")
#endif
#endif
#endif

