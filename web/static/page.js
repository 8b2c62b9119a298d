// The page at /chat. It takes nothing from its address; its own HTML may set options as data-… of the body.

import { mount } from "./chat.js";

const { title, greeting, assistant, language, key } = document.body.dataset;
(await mount(document.body, { title, greeting, assistant, language, key })).focus();
