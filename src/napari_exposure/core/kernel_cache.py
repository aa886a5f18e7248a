"""numba's cache of compiled kernels, which here works also where its files are damaged or cannot be written."""

from __future__ import annotations

import pickle
from contextlib import suppress
from hashlib import sha256
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps


class _CheckedCode(CompileResultCacheImpl):
    """Writes compiled code with its digest, because damaged machine code would crash the process."""

    def reduce(self, cres: Any) -> tuple[bytes, bytes]:
        code = dumps(super().reduce(cres))
        return sha256(code).digest(), code

    def rebuild(self, target_context: Any, payload: tuple[bytes, bytes]) -> Any:
        digest, code = payload
        if sha256(code).digest() != digest:
            raise ValueError("The cached code is damaged.")
        return super().rebuild(target_context, pickle.loads(code))


class KernelCache(FunctionCache):
    """numba's cache, for which an unusable file counts as missing, and which ignores that a file cannot be written.

    A crash or a full disk may leave a file empty or cut off, and two processes that compile at once may write the code
    of one dtype under the name of another.  numba itself would raise then at every start.
    """

    _impl_class = _CheckedCode

    def holds(self, sig: Any, target_context: Any) -> bool:
        """Return whether there is a file for a signature; whether it can be used, only loading it tells."""
        try:
            return self._cache_file.load(self._index_key(sig, target_context.codegen())) is not None
        except Exception:
            return False

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel, or None where there is none that can be used."""
        try:
            found = super().load_overload(sig, target_context)
        except Exception:
            return None
        wanted = self._py_func.__qualname__, tuple(sig)
        return found if found is not None and (found.fndesc.qualname, found.signature.args) == wanted else None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel if that is possible, where needed to a new index in place of an unreadable one."""
        try:
            super().save_overload(sig, data)
        except Exception:
            with suppress(Exception):
                self.flush()
                super().save_overload(sig, data)
