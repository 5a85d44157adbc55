// Asking the service. A key, where one is wanted, lives in sessionStorage: it goes when the tab does.

const KEY = "neucf-key";
let asking = null;

/** Returns the JSON of an answer; throws an Error that says in words why there is none, `refused` if asking again is in vain. */
export async function ask(path, { query = {}, body, signal } = {}) {
  const address = path + asQuery(query);
  for (let attempt = 0; ; attempt += 1) {
    const response = await send(address, body, signal);
    if (response.status === 401) await askForKey();
    else if (response.status === 503 && attempt < 3) await pause(response.headers.get("Retry-After"));
    else if (response.ok) return response.json();
    else throw Object.assign(new Error(await reason(response)), { refused: response.status < 500 });
  }
}

async function send(address, body, signal) {
  const key = sessionStorage.getItem(KEY);
  // Asked so, the service leaves it to this page to ask for a key.
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const method = body ? "POST" : "GET";
  try {
    return await fetch(address, { method, headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The service does not answer. Is it running?");
  }
}

function asQuery(query) {
  const pairs = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

async function reason(response) {
  const problem = await response.json().catch(() => null);
  return problem?.detail ?? `The service answered ${response.status}.`;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * (Number(seconds) || 1)));

/** Asks for the key once, whoever waits for it. */
function askForKey() {
  asking ??= new Promise((done) => {
    const dialog = document.getElementById("key-dialog");
    const field = document.getElementById("key");
    const wrong = sessionStorage.getItem(KEY) ? "That key did not fit. Try again." : "";
    document.getElementById("key-wrong").textContent = wrong;
    const entered = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, field.value);
      field.value = "";
      dialog.close();
    };
    const stay = (event) => event.preventDefault();
    dialog.firstElementChild.addEventListener("submit", entered);
    dialog.addEventListener("cancel", stay);
    dialog.addEventListener("close", () => {
      dialog.firstElementChild.removeEventListener("submit", entered);
      dialog.removeEventListener("cancel", stay);
      asking = null;
      done();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
