// The browsers of the system: Chromium by CDP, Firefox by WebDriver BiDi, WebKitGTK by WebDriver.

import { accessSync, mkdirSync } from "node:fs";
import { join } from "node:path";

import puppeteer from "puppeteer-core";

import { WebKit } from "./webkit.mjs";

/** Where screenshots go. */
export const SHOTS = join(process.env.CARGO_TARGET_DIR ?? "target", "test-shots");

/** How long a call into a page may take. */
const PROTOCOL_MS_MAX = 300_000;

const QUIET = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-domain-reliability",
  "--disable-sync",
  "--metrics-recording-only",
  "--no-first-run",
  "--no-default-browser-check",
  "--disable-gpu",
  "--disable-dev-shm-usage",
];

const QUIET_PREFERENCES = {
  "app.update.enabled": false,
  "browser.safebrowsing.downloads.remote.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.region.network.url": "",
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.getAddons.cache.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "http://127.0.0.1:9/",
  "toolkit.telemetry.server": "",
  // A page in the background keeps its timers, as it does in the other browser here.
  "dom.min_background_timeout_value": 4,
  "dom.timeout.enable_budget_timer_throttling": false,
};

/** The program of Chromium. */
export const chromium = () => program("CHROMIUM", ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"]);

function program(variable, paths) {
  for (const path of [process.env[variable], ...paths].filter(Boolean)) {
    try {
      accessSync(path);
      return path;
    } catch {
      // The next one.
    }
  }
  throw new Error(`none of ${paths.join(", ")} exists; install it, or set ${variable}`);
}

/** Starts a browser by name, "chromium", "firefox" or "webkit", the first two in a colour scheme and with options of their driver. */
export async function launch(name, scheme = "light", options = {}) {
  if (name === "webkit") return WebKit.launch();
  const root = process.getuid?.() === 0;
  if (name === "chromium") {
    return puppeteer.launch({
      ...options,
      protocolTimeout: PROTOCOL_MS_MAX,
      executablePath: options.executablePath ?? chromium(),
      args: [...QUIET, ...(root ? ["--no-sandbox"] : []), ...(scheme === "dark" ? ["--force-dark-mode"] : []), ...(options.args ?? [])],
      headless: true,
    });
  }
  return puppeteer.launch({
    ...options,
    browser: "firefox",
    protocolTimeout: PROTOCOL_MS_MAX,
    executablePath: program("FIREFOX", ["/usr/bin/firefox-esr", "/usr/bin/firefox"]),
    extraPrefsFirefox: {
      ...QUIET_PREFERENCES,
      ...options.extraPrefsFirefox,
      "layout.css.prefers-color-scheme.content-override": scheme === "dark" ? 0 : 1,
    },
    headless: true,
  });
}

/** Saves what the page shows. */
export async function shoot(page, name) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: join(SHOTS, `${name}.png`) });
}
