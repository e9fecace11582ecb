// A C++ exception ends here: its kind and the first line of its message wait for the managed side (per thread).
#pragma once
#include <c10/util/Exception.h>
#include <new>
#include <string>

namespace mq {

enum error_kind { GENERAL = 1, INDEX, VALUE, TYPE, NOT_IMPLEMENTED, OUT_OF_MEMORY, LINALG };

inline thread_local int last_kind = 0;
inline thread_local std::string last_message;

inline void fail(int kind, const char* what)
{
    last_kind = kind;
    last_message.assign(what);
    auto end = last_message.find('\n');
    if (end != std::string::npos) last_message.resize(end);
    // The allocators of 1.13 report exhausted memory as a plain error.
    if (kind == GENERAL
        && (last_message.find("can't allocate memory") != std::string::npos
            || last_message.find("out of memory") != std::string::npos))
        last_kind = OUT_OF_MEMORY;
}

template <class T, class F> T guard(T on_error, F body) noexcept
{
    try {
        return body();
    } catch (const c10::IndexError& e) {
        fail(INDEX, e.what_without_backtrace());
    } catch (const c10::ValueError& e) {
        fail(VALUE, e.what_without_backtrace());
    } catch (const c10::TypeError& e) {
        fail(TYPE, e.what_without_backtrace());
    } catch (const c10::NotImplementedError& e) {
        fail(NOT_IMPLEMENTED, e.what_without_backtrace());
    } catch (const c10::OutOfMemoryError& e) {
        fail(OUT_OF_MEMORY, e.what_without_backtrace());
    } catch (const c10::LinAlgError& e) {
        fail(LINALG, e.what_without_backtrace());
    } catch (const c10::Error& e) {
        fail(GENERAL, e.what_without_backtrace());
    } catch (const std::bad_alloc&) {
        fail(OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& e) {
        fail(GENERAL, e.what());
    } catch (...) {
        fail(GENERAL, "an exception of unknown type");
    }
    return on_error;
}

} // namespace mq
