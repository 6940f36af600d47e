/**
 * What a power failure may have taken, which the log itself cannot tell: it ends where it was last synced. So a store
 * remembers how its writers sync, and says so when it is opened after one that did not close it.
 */
import type { Durability } from "../../base/types.js";
import type { LogRecovery, Store } from "../../storage/store.js";
import type { Catalog } from "../catalog/catalog.js";
import type { RecoveryReport } from "../types.js";
import type { Parts } from "./changes.js";
import { logSetting } from "./log-setting.js";

/** The setting that keeps how the last writer syncs; stores that were only written with `sync` have none. */
const DURABILITY_SETTING = "durability";

/** Milliseconds before a power failure of which acknowledged writes may be missing; null where there is no bound. */
function windowOf(durability: Durability, flushIntervalMs: number): number | null {
  return { sync: 0, interval: flushIntervalMs, off: null }[durability];
}

function storedWindow(catalog: Catalog): number | null {
  const value = catalog.setting(DURABILITY_SETTING);
  if (value === undefined) return 0;
  const window = Number(Buffer.from(value).toString("latin1"));
  return Number.isSafeInteger(window) && window >= 0 ? window : null;
}

/** What opening found, once the log is replayed. */
export function recoveryReport(store: Store, catalog: Catalog, replayed: number): RecoveryReport {
  const { torn, closed } = store.logRecovery as LogRecovery;
  return {
    replayed,
    torn,
    windowMs: closed || store.created ? 0 : storedWindow(catalog),
    notes: [...store.recovered],
  };
}

/** For `stats().warnings`. */
export function recoveryWarnings({ windowMs, torn }: RecoveryReport): string[] {
  if (windowMs === 0) return [];
  const often = windowMs === null ? "whenever the system liked" : `every ${windowMs} ms`;
  const window = windowMs === null ? "before, since the last checkpoint," : `in the ${windowMs} ms before`;
  const seen = torn > 0 ? `, at least ${torn} ${torn === 1 ? "change" : "changes"}` : "";
  return [
    `the last writer synced the log ${often} and did not close the store: if the power failed, what was acknowledged ${window} may be missing${seen}`,
  ];
}

/** Remembers, durably and before anything is acknowledged, how this writer syncs. */
export async function rememberDurability(
  store: Store,
  parts: Parts,
  durability: Durability,
  flushIntervalMs: number,
): Promise<void> {
  const window = windowOf(durability, flushIntervalMs);
  if (window === storedWindow(parts.catalog)) return;
  await logSetting(store, parts, DURABILITY_SETTING, Buffer.from(window === null ? "off" : String(window)));
}
