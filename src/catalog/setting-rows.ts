/** Small named blobs as rows of the catalog. */
import type Database from "better-sqlite3";
import { HebbError } from "../../base/errors.js";
import { blobCrc } from "./checksum.js";

export type SettingRow = [name: string, value: Buffer, crc: number];

export class SettingRows {
  readonly #put: Database.Statement;
  readonly #get: Database.Statement;

  constructor(db: Database.Database) {
    this.#put = db.prepare("INSERT OR REPLACE INTO setting (name, value, crc) VALUES (?, ?, ?)");
    this.#get = db.prepare("SELECT name, value, crc FROM setting WHERE name = ?").raw();
  }

  put(name: string, value: Uint8Array): void {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    this.#put.run(name, bytes, blobCrc(name, "", bytes));
  }

  get(name: string): Uint8Array | undefined {
    const row = this.#get.get(name) as SettingRow | undefined;
    return row && decodeSetting(row);
  }
}

/** @throws {HebbError} CATALOG_CORRUPT naming the setting */
export function decodeSetting([name, value, crc]: SettingRow): Uint8Array {
  if (!Buffer.isBuffer(value) || blobCrc(name, "", value) !== crc) {
    throw new HebbError(
      "CATALOG_CORRUPT",
      `catalog.sqlite: setting ${JSON.stringify(name)}: its checksum does not match`,
      {
        name,
      },
    );
  }
  return new Uint8Array(value);
}
