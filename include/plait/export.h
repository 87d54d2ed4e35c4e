/* Words every public header needs: visibility, C linkage, version. */
#ifndef PLAIT_EXPORT_H
#define PLAIT_EXPORT_H

#define PLAIT_VERSION_MAJOR 0
#define PLAIT_VERSION_MINOR 1
#define PLAIT_VERSION_PATCH 0

#define PLAIT_API __attribute__((visibility("default")))

#ifdef __cplusplus
#define PLAIT_BEGIN_DECLS extern "C" {
#define PLAIT_END_DECLS }
#else
#define PLAIT_BEGIN_DECLS
#define PLAIT_END_DECLS
#endif

#endif
