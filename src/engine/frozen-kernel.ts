/** Which kernels may answer from a frozen bundle. */
import { HebbError } from "../../base/errors.js";
import type { KernelTraits } from "../../native/index.js";

/** @throws {HebbError} KERNEL_UNAVAILABLE for one whose answers could differ from those of another machine */
export function checkKernel({ id, deterministic, maxDimension }: KernelTraits, dimensions: number): void {
  if (!deterministic) {
    throw new HebbError(
      "KERNEL_UNAVAILABLE",
      `the kernel ${id} does not give the bits that others give, so no frozen bundle is read by it; choose another with HEBB_KERNEL`,
      { kernel: id },
    );
  }
  if (dimensions > maxDimension) {
    throw new HebbError(
      "KERNEL_UNAVAILABLE",
      `the kernel ${id} is exact up to ${maxDimension} dimensions, and the bundle has ${dimensions}; choose another with HEBB_KERNEL`,
      { kernel: id, dimensions, maxDimension },
    );
  }
}
