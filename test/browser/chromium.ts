/** A headless Chromium of this machine: the one that HEBB_CHROMIUM names, or Debian's. */
import { existsSync } from "node:fs";
import { type Browser, launch } from "puppeteer-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function launchChromium(): Promise<Browser> {
  const { HEBB_CHROMIUM: given } = process.env;
  const executablePath = given ?? PLACES.find((path) => existsSync(path));
  if (executablePath === undefined) {
    throw new Error(`no Chromium at ${PLACES.join(", ")}; install Debian's "chromium", or name one in HEBB_CHROMIUM`);
  }
  // Its sandbox needs rights that containers do not give; pages are the tests' own.
  return launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}
