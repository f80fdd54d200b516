// What tests measure in a page: where the tab key must go, what has the focus, and what does not fit its screen.

(() => {
  const SEEN = { visibilityProperty: true };
  const STOPS = "a[href], button, input, select, textarea, summary, [tabindex]";
  const ACTIONS = "button, .button, select, textarea, input, nav a, summary";

  const named = (element) => {
    const words = (element.ariaLabel || element.labels?.[0]?.textContent || element.textContent || "").trim();
    return `${element.localName}.${element.className} "${words.replace(/\s+/g, " ").slice(0, 40)}"`;
  };
  const seen = (element) => element.checkVisibility(SEEN) && element.getClientRects().length > 0;
  const hidden = (element) => element.closest(".visually-hidden, .skip") !== null;
  const size = (rect) => `${Math.round(rect.width)} x ${Math.round(rect.height)}`;

  /** Of radio buttons that belong together one is a stop: the checked one, else the first. */
  function isOfGroup(radio) {
    const group = [...document.querySelectorAll('input[type="radio"]')].filter((other) => other.name === radio.name);
    return radio === (group.find((other) => other.checked) ?? group[0]);
  }

  /** Number all elements that the tab key must reach, in the order of the page; their names. */
  function stops() {
    const dialog = document.querySelector("dialog[open]");
    const wanted = [...(dialog ?? document).querySelectorAll(STOPS)].filter(
      (e) => seen(e) && !e.disabled && e.tabIndex >= 0 && e.type !== "hidden" && (e.type !== "radio" || isOfGroup(e)),
    );
    wanted.forEach((element, number) => (element.dataset.stop = number));
    return wanted.map(named);
  }

  /** Whether any point of the element is on the screen with nothing before it. */
  function isBare(element) {
    const rect = element.getBoundingClientRect();
    return [0.1, 0.5, 0.9].some((x) =>
      [0.1, 0.5, 0.9].some((y) => {
        const found = document.elementFromPoint(rect.left + x * rect.width, rect.top + y * rect.height);
        return found && (element.contains(found) || found.contains(element));
      }),
    );
  }

  /** What has the focus: its number (-1 where none was expected), its name, and what is wrong with how it is seen. */
  function focused() {
    const element = document.activeElement;
    if (!element || element === document.body || element === document.documentElement) return null;
    const { outlineStyle, outlineWidth } = getComputedStyle(element);
    const faults = [];
    if (outlineStyle === "none" || Number.parseFloat(outlineWidth) < 2) faults.push("no outline");
    if (!isBare(element)) faults.push("covered or off the screen");
    return { number: Number(element.dataset.stop ?? -1), name: named(element), faults };
  }

  function tooWide() {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const wide = [...document.querySelectorAll("main *, header *, footer *")].filter(
      (e) => seen(e) && e.getBoundingClientRect().right > clientWidth + 1 && !e.closest(".scroll, .visually-hidden"),
    );
    return [`the page is ${scrollWidth} wide on ${clientWidth}: ${wide.slice(-3).map(named).join("; ")}`];
  }

  /** Words that are cut, or that stand out of their button. */
  function cutWords() {
    const own = (e) => [...e.childNodes].some((child) => child.nodeType === Node.TEXT_NODE && child.data.trim());
    return [...document.querySelectorAll("body *")]
      .filter((e) => !["script", "style", "option", "textarea"].includes(e.localName) && own(e) && seen(e) && !hidden(e))
      .filter((e) => {
        const { overflowX, display } = getComputedStyle(e);
        const keeps = e.matches("button, .button, .badge") || ["hidden", "clip"].includes(overflowX);
        return keeps && display !== "inline" && (e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1);
      })
      .map((e) => `words are cut in ${named(e)}`);
  }

  /** Bars that stay when the page is scrolled, and leave too little of a low screen. */
  function highBars() {
    return [...document.querySelectorAll("body *")]
      .filter((e) => ["sticky", "fixed"].includes(getComputedStyle(e).position) && !e.closest("table, dialog") && seen(e))
      .filter((e) => e.getBoundingClientRect().height > 0.34 * innerHeight)
      .map((e) => `${named(e)} stays and is ${size(e.getBoundingClientRect())} of ${innerHeight}`);
  }

  function smallTargets(least) {
    return [...document.querySelectorAll(ACTIONS)]
      .filter((e) => seen(e) && !hidden(e) && e.type !== "hidden")
      .map((e) => {
        const label = ["checkbox", "radio"].includes(e.type) ? e.labels[0] : null;
        return [e, (label ?? e).getBoundingClientRect()];
      })
      .filter(([, rect]) => Math.min(rect.width, rect.height) < least - 0.5)
      .map(([e, rect]) => `${named(e)} is ${size(rect)}`);
  }

  window.probes = { stops, focused, tooWide, cutWords, highBars, smallTargets };
})();
