/** In place of a label in lists of the best k where there are none left; no label has this number. */
export const noLabel = 0xffffffff;
