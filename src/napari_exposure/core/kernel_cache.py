"""numba's cache of compiled kernels, made safe: whatever lies in it or happens to it, a kernel is there."""

from __future__ import annotations

import pickle
from contextlib import suppress
from hashlib import sha256
from typing import Any

from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps


class _CheckedCode(CompileResultCacheImpl):
    """Compiled code goes to disk with its digest, because machine code that is damaged would crash the process."""

    def reduce(self, cres: Any) -> tuple[bytes, bytes]:
        code = dumps(super().reduce(cres))
        return sha256(code).digest(), code

    def rebuild(self, target_context: Any, payload: tuple[bytes, bytes]) -> Any:
        digest, code = payload
        if sha256(code).digest() != digest:
            raise ValueError("The cached code is damaged.")
        return super().rebuild(target_context, pickle.loads(code))


class KernelCache(FunctionCache):
    """As numba's, but a file that cannot be used counts as missing, and one that cannot be written is left out.

    A file may be empty or cut off after a crash or on a full disk, and two processes that compile at once may write
    the code of one dtype under the name of another.  numba itself raises then, at every start.
    """

    _impl_class = _CheckedCode

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the compiled kernel, or None where there is none that can be used."""
        try:
            found = super().load_overload(sig, target_context)
        except Exception:
            return None
        wanted = self._py_func.__qualname__, tuple(sig)
        return found if found is not None and (found.fndesc.qualname, found.signature.args) == wanted else None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Write a compiled kernel if that is possible; an index that cannot be read is begun anew."""
        try:
            super().save_overload(sig, data)
        except Exception:
            with suppress(Exception):
                self.flush()
                super().save_overload(sig, data)
