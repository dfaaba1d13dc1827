// Python exception classes for the typed errors of common/errors.h.
#include "common/errors.h"

#include "bindings/bindings.h"

namespace treeward::bindings {

py::object& register_errors(py::module_& module) {
  // Leaked on purpose: exception types must outlive interpreter shutdown.
  static auto* base =
      new py::object(py::exception<Error>(module, "TreewardError", PyExc_RuntimeError));
  static auto* pool =
      new py::object(py::exception<PoolExhausted>(module, "PoolExhausted", base->ptr()));
  static auto* stale =
      new py::object(py::exception<StaleHandle>(module, "StaleHandle", base->ptr()));
  static auto* not_finite =
      new py::object(py::exception<NotFinite>(module, "NotFinite", base->ptr()));
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const InvalidArgument& error) {
      py::set_error(PyExc_ValueError, error.what());
    } catch (const PoolExhausted& error) {
      py::set_error(*pool, error.what());
    } catch (const StaleHandle& error) {
      py::set_error(*stale, error.what());
    } catch (const NotFinite& error) {
      py::set_error(*not_finite, error.what());
    } catch (const Error& error) {
      py::set_error(*base, error.what());
    }
  });
  return *base;
}

}  // namespace treeward::bindings
