// Puts a text where it can be pasted from, and says so on the button that was pressed.

const SAID_MS = 1_500;

/** Where the browser allows no copying, `source` is selected instead. */
export async function copy(button: HTMLElement, text: string, source?: HTMLElement): Promise<void> {
  const before = button.dataset["label"] ?? button.textContent ?? "";
  button.dataset["label"] = before;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    if (source !== undefined) getSelection()?.selectAllChildren(source);
    button.textContent = source === undefined ? "Not allowed" : "Selected";
  }
  setTimeout(() => (button.textContent = before), SAID_MS);
}
