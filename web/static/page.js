// The page at /chat. Its HTML says what the settings do, as data-… of the body; of its address only the assistant counts.

import { mount } from "./chat.js";

const { title, greeting, assistant, chosen, language, key, color, onColor, logo, questions, contact, texts } =
  document.body.dataset;
const asked = new URLSearchParams(location.search).get("assistant");
if (asked && asked !== assistant) console.warn(`There is no assistant of that name to be asked: ${assistant} answers.`);
const options = { title, greeting, assistant, language, key, color, onColor, logo, contact };
options.isChosen = !!chosen;
options.questions = questions?.split("|").map((text) => text.trim()).filter(Boolean);
options.texts = texts && JSON.parse(texts);
(await mount(document.body, options)).focus();
