// Names for screen readers where Gradio gives none: pictures take the label of their block, and
// examples the name of their file.
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
    for (const button of document.querySelectorAll("button:not([aria-label])")) {
      const image = button.querySelector("img[alt]");
      if (image && !button.innerText.trim()) button.setAttribute("aria-label", image.alt);
    }
  };
  new MutationObserver(name).observe(document.body, { childList: true, subtree: true });
  name();
})();
