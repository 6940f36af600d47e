import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const long = process.env.HEBB_LONG !== undefined;
const dist = fileURLToPath(new URL("./dist/", import.meta.url));

export default defineConfig({
  // Tests import `../../storage/wal.js` and the like; they run against dist/, which is what ships.
  resolve: {
    alias: [{ find: /^(?:\.\.\/)+(?=(?:base|native|model|storage|training|src|bench)\/)/, replacement: dist }],
  },
  test: {
    include: ["test/**/*.test.ts"],
    pool: "forks",
    maxWorkers: "150%", // a third of the time is waiting for disks and other processes
    // For what hangs. A test of half a minute took two on a machine with 28 processes for two cores.
    testTimeout: long ? 0 : 30 * 60_000,
    hookTimeout: 30 * 60_000,
  },
});
