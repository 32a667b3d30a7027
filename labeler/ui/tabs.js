// The tab in sight is part of the address, so that a reload and the Back button keep the place.

const tabs = () => [...document.querySelectorAll('#lab-tabs [role=tab]')];
const nameOf = (tab) => tab.textContent.trim().toLowerCase();
const wanted = () => decodeURIComponent(location.hash.slice(1)) || nameOf(tabs()[0]);

export function followTabs() {
  document.addEventListener('click', (event) => {
    const tab = event.target.closest?.('#lab-tabs [role=tab]');
    tab?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    if (tab && nameOf(tab) !== wanted()) history.pushState(null, '', `#${encodeURIComponent(nameOf(tab))}`);
  });
  window.addEventListener('popstate', show);
  show();
}

/** The tab in sight: { name, title }. */
export function inSight() {
  const tab = tabs().find((one) => one.getAttribute('aria-selected') === 'true');
  return { name: nameOf(tab), title: tab.textContent.trim() };
}

/** Goes to the tab of this name, as a click on it does. */
export const openTab = (name) => tabs().find((one) => nameOf(one) === name)?.click();

function show() {
  const tab = tabs().find((one) => nameOf(one) === wanted());
  if (tab && tab.getAttribute('aria-selected') !== 'true') tab.click();
  tab?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
}
