/* sanitizers - which of them watches this build: PL_ASAN and PL_TSAN are 1 or 0. gcc and clang say it differently. */
#ifndef PL_BASE_SANITIZERS_H
#define PL_BASE_SANITIZERS_H

#ifndef __has_feature
#define PL_HAS_FEATURE_(feature) 0
#else
#define PL_HAS_FEATURE_(feature) __has_feature(feature)
#endif

#if defined __SANITIZE_ADDRESS__ || PL_HAS_FEATURE_(address_sanitizer)
#define PL_ASAN 1
#else
#define PL_ASAN 0
#endif

#if defined __SANITIZE_THREAD__ || PL_HAS_FEATURE_(thread_sanitizer)
#define PL_TSAN 1
#else
#define PL_TSAN 0
#endif

#endif
