/* The marks of functions that the library exports, and of those that print. weft.h includes this header. */
#ifndef WEFT_EXPORT_H
#define WEFT_EXPORT_H

/* Marks a function that a shared library exports, such as the entry of a plug-in. */
#if defined(_WIN32)
#define WEFT_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define WEFT_EXPORT __attribute__((visibility("default")))
#else
#define WEFT_EXPORT
#endif

/* Marks the library's own functions. On Windows a program has to mark nothing, so that the same header serves weft.dll and a static
 * library. WEFT_BUILDS_DLL is defined while weft.dll is compiled. */
#if !defined(_WIN32) || defined(WEFT_BUILDS_DLL)
#define WEFT_API WEFT_EXPORT
#else
#define WEFT_API
#endif

/* Lets the compiler check printf-style arguments. The numbers of two parameters, from 1: the format, and the first that is printed.
 */
#if defined(__MINGW32__) && !defined(__clang__)
#define WEFT_PRINTF(format_number, first_number) __attribute__((format(gnu_printf, format_number, first_number)))
#elif defined(__GNUC__)
#define WEFT_PRINTF(format_number, first_number) __attribute__((format(printf, format_number, first_number)))
#else
#define WEFT_PRINTF(format_number, first_number)
#endif

#endif
