// Accessibility that Gradio leaves out: pictures get the label of their block as a name, examples
// that of their file, and radio buttons work with the arrow keys.
(() => {
  const fileName = (url) => decodeURIComponent(url.split("/").pop()).replace(/\.\w+$/, "").replaceAll("_", " ");
  const name = () => {
    for (const image of document.querySelectorAll(".gallery-item img:not([alt]), .gallery-item img[alt='']")) {
      image.alt = `Example: ${fileName(image.src)}`;
    }
    for (const image of document.querySelectorAll(".block img:not([alt]), .block img[alt='']")) {
      const label = image.closest(".block").querySelector("[data-testid='block-label']");
      if (label) image.alt = label.innerText.trim();
    }
    // A name needs a role.
    for (const empty of document.querySelectorAll(".empty[aria-label]:not([role])")) empty.setAttribute("role", "img");
    for (const button of document.querySelectorAll("button:not([aria-label])")) {
      const image = button.querySelector("img[alt]");
      if (image && !button.innerText.trim()) button.setAttribute("aria-label", image.alt);
    }
    // Gradio gives each radio button another name; the arrow keys need one name per group.
    document.querySelectorAll("fieldset").forEach((group, number) => {
      for (const radio of group.querySelectorAll("input[type=radio]")) radio.name = `group-${number}`;
    });
  };
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
})();
// After the stop of the webcam, no event reaches the server, and the last frame rate would stay.
(() => {
  new MutationObserver(() => {
    const isStopped = document.querySelector("#camera [title='start recording']");
    const text = document.querySelector("#speed p");
    if (isStopped && text?.innerText.includes("frames per second")) text.innerText = "Stopped.";
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
})();
// Messages for webcam errors, which Gradio does not show.
(() => {
  const MESSAGES = {
    NotAllowedError: "The browser blocks the camera. Allow it in the site settings (icon in the address bar), then reload the page.",
    NotFoundError: "No camera found. Connect one, then reload the page.",
    NotReadableError: "The camera is in use by another program. Close that program, then reload the page.",
    OverconstrainedError: "The camera does not support the required resolution. Use another camera.",
  };
  const INSECURE = "Browsers allow the camera only over HTTPS or on localhost. Open the page with such an address.";
  const OTHER = "The camera could not be started. Check the camera and the browser's permissions, then reload the page.";
  const show = (text) => {
    for (const old of document.querySelectorAll(".aios-camera-error")) old.remove();
    const block = [...document.querySelectorAll("#camera, #photo")].find((found) => found.checkVisibility());
    if (!text || !block) return;
    const message = document.createElement("p");
    message.className = "aios-camera-error";
    message.setAttribute("role", "alert");
    message.innerText = text;
    block.insertAdjacentElement("afterend", message);
  };
  if (!navigator.mediaDevices?.getUserMedia) {
    document.addEventListener("click", (event) => {
      if (event.target.closest("#camera, #photo [aria-label='Capture from camera']")) show(INSECURE);
    }, true);
    return;
  }
  const original = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    try {
      const stream = await original(constraints);
      show("");
      return stream;
    } catch (error) {
      show(MESSAGES[error.name] ?? OTHER);
      throw error;
    }
  };
})();
// On a phone, the results lie below the photo. The page scrolls to them when a photo is chosen, and
// again whenever its height changes, until the visitor touches it, scrolls or presses a key.
(() => {
  let isFollowing = false;
  const scroll = () => {
    if (!isFollowing || window.innerWidth > 760) return;
    document.querySelector("#photo-results").scrollIntoView({ behavior: "instant" });
  };
  const stop = () => { isFollowing = false; };
  for (const type of ["wheel", "touchmove", "pointerdown", "keydown"]) {
    window.addEventListener(type, stop, { capture: true, passive: true });
  }
  window.aiosFollowResults = () => {
    isFollowing = true;
    scroll();
  };
  new ResizeObserver(scroll).observe(document.body);
})();
// Links carry the open tab, the open view, the example and settings. What the address says is read
// once, because widgets that appear write their usual values.
(() => {
  const given = new URLSearchParams(window.location.search);
  const slug = (text) => text.trim().toLowerCase().replace(/[^a-z0-9]+/g, "-");
  const write = (name, text) => {
    const address = new URL(window.location);
    if (text === null) address.searchParams.delete(name);
    else address.searchParams.set(name, text);
    if (address.href !== window.location.href) history.replaceState(history.state, "", address);
  };
  const value = (setting) => {
    const text = given.get(setting.name)?.trim();
    if (setting.choices) return setting.choices.find(([known]) => known === text)?.[1];
    const number = text ? Number(text) : NaN;
    return number >= setting.min && number <= setting.max ? number : undefined;
  };
  window.aiosWriteLink = (setting, value) => {
    const text = setting.choices ? setting.choices.find(([, known]) => known === value)?.[0] : value;
    write(setting.name, value === setting.usual || text === undefined ? null : String(text));
  };
  window.aiosReadLink = (settings, values) => settings.map((setting, index) => {
    const found = value(setting) ?? values[index];
    window.aiosWriteLink(setting, found);
    return found;
  });
  const stem = (name) => name.replace(/\.\w+$/, "");
  window.aiosWriteExample = (names, photo) => {
    const name = decodeURIComponent((photo?.url ?? photo?.path ?? "").split("/").pop());
    write("example", names.includes(name) ? stem(name) : null);
  };
  const groupOf = (tab) => tab.closest("#views") ? "show" : tab.closest("#tabs") ? "tab" : null;
  document.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    const group = tab && groupOf(tab);
    if (group) write(group, slug(tab.innerText));
  });
  // In this order: the view and the example are in the first tab, and need it to be open.
  const steps = ["show", "example", "tab"].filter((name) => given.get(name));
  const step = {
    example: () => {
      const items = [...document.querySelectorAll("#photo-choice .gallery-item")];
      const image = (item) => decodeURIComponent(item.querySelector("img")?.src.split("/").pop() ?? "");
      if (!items.some(image)) return false;
      const item = items.find((one) => stem(image(one)) === given.get("example"));
      if (!item) return true;
      if (!document.querySelector("#photo img")) {
        if (!item.dataset.chosen) item.click();
        item.dataset.chosen = "true";
      }
      return Boolean(document.querySelector("#people table"));
    },
  };
  step.show = step.tab = (name) => {
    const tabs = [...document.querySelectorAll("#tabs [role=tab]")]
      .filter((tab) => groupOf(tab) === name && tab.checkVisibility({ visibilityProperty: true }));
    if (!tabs.length) return false;
    const tab = tabs.find((one) => slug(one.innerText) === given.get(name));
    if (!tab || tab.getAttribute("aria-selected") === "true") return true;
    tab.click();
    return false;
  };
  const advance = () => {
    while (steps.length && step[steps[0]](steps[0])) steps.shift();
    if (!steps.length) observer.disconnect();
  };
  const observer = new MutationObserver(advance);
  observer.observe(document.body, { childList: true, subtree: true, attributeFilter: ["aria-selected", "src"] });
  advance();
})();
// 3D views: their script is loaded when the first one appears.
(() => {
  const start = async (element) => {
    element.dataset.started = "true";
    try {
      const viewer = await import(new URL("viewer/viewer.js", document.baseURI).href);
      await viewer.start(element);
    } catch (error) {
      console.error(error);
      element.innerHTML = "<p class='aios-viewer-error' role='alert'>The 3D view cannot be shown. It needs a browser with WebGL.</p>";
    }
  };
  const find = () => document.querySelectorAll(".aios-viewer:not([data-started])").forEach(start);
  new MutationObserver(find).observe(document.body, { childList: true, subtree: true });
  find();
})();
