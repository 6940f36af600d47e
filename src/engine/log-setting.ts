import type { Store } from "../../storage/store.js";
import { applyChanges, changeOf, type Parts } from "./changes.js";
import { encodeSetting, RECORD } from "./records.js";

/** Puts a setting into the log and applies it, durably, while a store is opened: nothing else writes yet. */
export async function logSetting(store: Store, parts: Parts, name: string, value: Uint8Array): Promise<void> {
  const payload = encodeSetting(name, value);
  const { last } = await store.log.append([{ type: RECORD.setting, payload }]);
  await store.log.sync();
  await applyChanges([changeOf(parts, last, RECORD.setting, Buffer.concat(payload))]);
}
