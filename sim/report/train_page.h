/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FC_REPORT_TRAIN_PAGE_H
#define FC_REPORT_TRAIN_PAGE_H

#include <fleetcast/report/train.h>

/* The page's tables about money (train_page_money.c). */
void fc_report_train_money(fc_text *out, const fc_train_answer *a);
void fc_report_train_variants(fc_text *out, const fc_train_answer *a);

#endif
